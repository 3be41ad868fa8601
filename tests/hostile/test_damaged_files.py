"""Whatever is done to a file: it is read, or refused in a few sentences; never a traceback, nan, or much memory."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from damage import damaged, odd, odd_text, resealed, rewrapped
from safetensors import safe_open
from scipy.io import savemat
from torch import nn

import ivreid
from ivreid.cli import main
from ivreid.config import load_config
from ivreid.datasets import check_dataset
from ivreid.datasets.features import read_features
from ivreid.datasets.matlab import read_mat
from ivreid.errors import IvreidError
from ivreid.methods import build, restore
from ivreid.methods.checkpoint_import import import_published
from ivreid.models import read_weights, write_weights
from ivreid.models.foreign_checkpoint import read_checkpoint
from ivreid.protocols import read_results
from ivreid.training.checkpoint import check_resumable, load_state

OLD_RUN = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1.0" / "run"
MEMORY = 64 << 20
"""Far above what these files of a few hundred kB can need, far below what a bomb takes."""
SMALL = {"backbone": "test_efficientnet", "pretrained": None}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound files of every kind, small ones."""
    folder = tmp_path_factory.mktemp("sound")
    method = build("iv-reid", SMALL, 3)
    card = {
        **method.card(),
        "preprocessing": {"size": [32, 16]},
        "train_pids": [1, 2],
        "dataset": {"name": "llcm"},
    }
    write_weights(folder / "weights.safetensors", method.state_dict(), card)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    value = {"net": net.state_dict(), "cmc": np.arange(3.0), "mAP": np.float64(1), "epoch": 3, "module": net}
    torch.save(value, folder / "zip.pth")
    torch.save(value, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    cells = np.empty((2, 1), dtype=object)
    cells[:, 0] = [np.ones((2, 3)), np.zeros((0, 0))]
    savemat(folder / "plain.mat", {"b": np.arange(4), "feature": cells})
    savemat(folder / "packed.mat", {"b": np.arange(4), "feature": cells}, do_compression=True)
    with np.load(OLD_RUN / "features.npz") as arrays:
        np.savez_compressed(folder / "packed.npz", **arrays)
    return folder


def survives(read: Callable[[], object], *, counted: bool) -> None:
    """The read succeeds or raises one short, printable error; where counted, within the memory."""
    if counted:
        tracemalloc.start()
    try:
        read()
    except IvreidError as error:
        check_message(str(error))
    finally:
        if counted:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MEMORY


def check_message(text: str) -> None:
    assert text
    assert len(text) < 8000 and text.count("\n") <= 120
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "allow_pickle" not in text


def command(*words: object) -> tuple[int, str]:
    """The command line in this process: its status; anything but a clean end raises."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0), ""


READERS: dict[str, Callable[[Path], object]] = {
    "weights.safetensors": restore,
    "zip.pth": read_checkpoint,
    "legacy.pth": read_checkpoint,
    "plain.mat": lambda path: read_mat(path, "feature"),
    "packed.mat": lambda path: read_mat(path, "feature"),
    "packed.npz": read_features,
}


@pytest.mark.campaign(slice=120)
def test_damaged_bytes(rng: Random, sound: Path, tmp_path: Path) -> None:
    name = rng.choice(list(READERS))
    path = tmp_path / name
    if name in ("zip.pth", "packed.npz") and rng.random() < 0.7:
        rewrapped(sound / name, path, rng)
    else:
        path.write_bytes(damaged((sound / name).read_bytes(), rng))
    survives(lambda: READERS[name](path), counted=name != "weights.safetensors")


@pytest.mark.campaign(slice=40)
def test_odd_cards_with_digests_that_fit(rng: Random, sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    data = (sound / "weights.safetensors").read_bytes()
    with safe_open(sound / "weights.safetensors", framework="pt") as file:
        seals = file.metadata()
    text = odd_text(json.loads(seals["ivreid"]), rng)
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    path.write_bytes(resealed(data, {**seals, "ivreid": text, "sha256": digest}))
    survives(lambda: ivreid.load(path, device="cpu"), counted=False)
    survives(lambda: ivreid.verify_files(path), counted=False)


@pytest.mark.campaign(slice=40)
def test_odd_training_states(rng: Random, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    data = (OLD_RUN / "checkpoints" / "last.safetensors").read_bytes()
    with safe_open(OLD_RUN / "checkpoints" / "last.safetensors", framework="pt") as file:
        info = json.loads(file.metadata()["ivreid"])
    path.write_bytes(resealed(data, {"ivreid": odd_text(info, rng)}))
    survives(lambda: check_resumable(load_state(path)), counted=True)


@pytest.mark.campaign(slice=60)
def test_odd_results_never_reach_a_table(
    rng: Random, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    results = json.loads((OLD_RUN / "results.json").read_text())
    if rng.random() < 0.3:
        path.write_bytes(damaged(json.dumps(results[0]).encode(), rng))
    else:
        path.write_text(odd_text(results if rng.random() < 0.5 else results[0], rng), errors="replace")
    survives(lambda: read_results(path), counted=True)
    command("compare", path, OLD_RUN / "results.json")
    shown = capsys.readouterr()
    assert not re.search(r"\bnan\b|\binf\b", shown.out)
    check_message(shown.err or "-")


@pytest.mark.campaign(slice=25)
def test_odd_run_folders_give_a_report_or_a_sentence(
    rng: Random, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(OLD_RUN, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    for name in rng.sample(("metrics.jsonl", "environment.json", "results.json", "config.yaml"), 2):
        text = (run / name).read_text()
        if name == "config.yaml" or rng.random() < 0.3:
            (run / name).write_bytes(damaged(text.encode(), rng))
        elif name == "metrics.jsonl":
            rows = [json.loads(line) for line in text.splitlines()]
            at = rng.randrange(len(rows))
            rows[at] = odd(rows[at], rng)
            (run / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            (run / name).write_text(odd_text(json.loads(text), rng), errors="replace")
    command("report", run)
    check_message(capsys.readouterr().err or "-")


@pytest.mark.campaign(slice=60)
def test_odd_configurations(rng: Random, tmp_path: Path) -> None:
    import yaml

    text = (OLD_RUN / "config.yaml").read_text()
    path = tmp_path / "config.yaml"
    words: list[str] = []
    if rng.random() < 0.4:
        path.write_bytes(damaged(text.encode(), rng))
    else:
        tree = odd(yaml.safe_load(text.replace("ivreid_fixture", "resnet18")), rng)
        path.write_text(json.dumps(tree), errors="replace")
    if rng.random() < 0.3:
        key = rng.choice(
            ("data.root", "out", "epochs", "method.backbone", "a.b.c", "", "optimizer.lr", "batch")
        )
        words = [f"{key}={odd_text(rng.choice((1, 'a', [1], {'a': 1})), rng)}"]
    survives(lambda: load_config(path, words), counted=True)


@pytest.mark.campaign(slice=25)
def test_odd_tables_and_lists(rng: Random, tmp_path: Path) -> None:
    rows = ["path,pid,modality,camid,split", *(f"a/{i}.png,{i},visible,1,test" for i in range(9))]
    (tmp_path / "people.csv").write_bytes(damaged("\n".join(rows).encode(), rng))
    survives(lambda: check_dataset("csv", tmp_path), counted=True)
    (tmp_path / "exp").mkdir()
    for name in ("train", "val", "test", "available"):
        (tmp_path / "exp" / f"{name}_id.txt").write_bytes(damaged(b"1,2,3,4\n", rng))
    survives(lambda: check_dataset("sysu-mm01", tmp_path), counted=True)


@pytest.mark.campaign(slice=30)
def test_odd_published_checkpoints(rng: Random, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    tensors: dict[str, Any] = {
        "base.conv1.weight": torch.ones(1),
        "share_classifier.weight": torch.ones(3, 2),
    }
    for _ in range(rng.randrange(4)):
        shape = [rng.choice((0, 1, 2, 3, 5)) for _ in range(rng.randrange(5))]
        stage, block = rng.randrange(1, 5), rng.randrange(3)
        kind = rng.choice(("conv1.weight", "conv3.weight", "bn1.running_mean", "conv2.bias"))
        tensors[
            rng.choice((f"base.layer{stage}.{block}.{kind}", "bottleneck.weight", "share_classifier.weight"))
        ] = torch.empty(shape)
    torch.save(tensors, path)
    survives(lambda: import_published(path, "iv-reid"), counted=False)


def test_sound_files_are_sound(sound: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without damage every reader succeeds: else the campaigns would try nothing."""
    caplog.set_level(logging.ERROR)
    for name, read in READERS.items():
        read(sound / name)
    assert len(read_results(OLD_RUN / "results.json")) == 2
    check_resumable(load_state(OLD_RUN / "checkpoints" / "last.safetensors"))
    assert read_weights(sound / "weights.safetensors")[1]["num_classes"] == 3
