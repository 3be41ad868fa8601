"""`ivreid doctor PATH` and `data check --caches`: damage on disk is found by the file's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ivreid as package
from ivreid.data import CacheKey, open_cache
from ivreid.errors import UsageError
from ivreid.models import write_weights
from ivreid.models.sealed import write_sealed
from ivreid.training.checkpoint import STATE

OLD_RUN = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1.0" / "run"
CARD = {"method": "iv-reid", "settings": {}, "num_classes": 3}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.fixture
def run(tmp_path):
    """A run folder whose weights and state have digests."""
    import torch

    run = shutil.copytree(OLD_RUN, tmp_path / "run")
    write_weights(run / "weights.safetensors", {"a": torch.ones(50)}, CARD)
    for name in ("last", "best"):
        write_sealed(run / "checkpoints" / f"{name}.safetensors", STATE, {"model.a": torch.ones(50)}, {})
    return run


def test_a_sound_run_is_said_to_be_sound(run, ivreid):
    found = ivreid("doctor", run)
    assert found.status == 0
    assert found.out.count(": sound ") == 8
    assert "weights.safetensors: sound weights (SHA-256 of text and tensors)" in found.out
    assert "BAD" not in found.out


@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        ("weights.safetensors", -3, "its tensors are not those that were written"),
        ("checkpoints/last.safetensors", -3, "its tensors are not those that were written"),
        ("checkpoints/best.safetensors", 100, "damaged"),
        ("features.npz", 300, "features.npz"),
        ("results.json", 0, "not valid JSON"),
        ("metrics.jsonl", 0, "line 1 is not valid JSON"),
        ("config.yaml", 0, "config.yaml"),
    ],
)
def test_damage_is_found_by_the_files_name(run, ivreid, name, at, message):
    if name == "config.yaml":
        (run / name).write_text("a: [")
    else:
        flip(run / name, at)
    found = ivreid("doctor", run)
    assert found.status == 1
    bad = [line for line in found.out.splitlines() if ": BAD " in line]
    assert len(bad) == 1 and name in bad[0] and message in bad[0]
    assert "1 of 8 files are not as they were written" in found.err


def test_single_files_and_what_is_none_of_ours(run, tmp_path):
    (report,) = package.verify_files(run / "weights.safetensors")
    assert (report.what, report.problem) == ("weights", "")
    (report,) = package.verify_files(run / "checkpoints" / "last.safetensors")
    assert report.what == "checkpoint"
    moved = shutil.copy(run / "checkpoints" / "last.safetensors", tmp_path / "mine.safetensors")
    assert package.verify_files(moved)[0].what == "checkpoint"
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none", Path(__file__)):
        with pytest.raises(UsageError, match="is no run folder"):
            package.verify_files(path)


@pytest.fixture
def pictures(tmp_path):
    """Two people, each seen by both kinds of camera, and a cache of their pictures."""
    root = tmp_path / "own"
    paths = []
    for modality in ("visible", "infrared"):
        for pid in (1, 2):
            (root / modality / f"{pid}").mkdir(parents=True)
            for frame in (1, 2):
                name = f"{modality}/{pid}/{frame}.png"
                grey = np.full((16, 8, 3), 40 * pid + frame, dtype=np.uint8)
                Image.fromarray(grey).save(root / name)
                paths.append(name)
    return root, CacheKey(root, tuple(paths), (16, 8), "")


def test_caches_are_verified_row_by_row(pictures, tmp_path, monkeypatch, ivreid):
    root, key = pictures
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "caches"))
    found = ivreid("data", "check", "folder", root, "--caches")
    assert found.status == 0 and "note: no image cache of these pictures" in found.out
    cache = open_cache(tmp_path / "caches", key).path
    found = ivreid("data", "check", "folder", root, "--caches")
    assert found.status == 0 and f"cache {cache}: 8 pictures, sound" in found.out
    assert ivreid("doctor", tmp_path / "caches").status == 0
    flip(cache, 4096 + 3 * 16 * 8 * 3)
    for words in (("data", "check", "folder", root, "--caches"), ("doctor", tmp_path / "caches")):
        found = ivreid(*words)
        assert found.status == 1
        assert f"1 damaged row(s): {key.paths[3]}; delete it" in found.out
    assert cache.exists()


def test_a_cache_of_pictures_that_changed_is_outdated_and_one_of_others_is_not_ours(
    pictures, tmp_path, monkeypatch, ivreid
):
    root, key = pictures
    monkeypatch.setenv("IVREID_CACHE", str(tmp_path / "caches"))
    open_cache(tmp_path / "caches", key)
    shutil.copytree(root, tmp_path / "copy")
    found = ivreid("data", "check", "folder", tmp_path / "copy", "--caches")
    assert found.status == 0 and "no image cache of these pictures" in found.out
    (root / key.paths[0]).write_bytes((root / key.paths[7]).read_bytes())
    found = ivreid("data", "check", "folder", root, "--caches")
    assert found.status == 1
    assert "pictures have changed since; the next run builds it anew" in found.out
