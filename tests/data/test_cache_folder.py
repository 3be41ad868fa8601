"""The folder of image caches: listed, cleaned, and never begun without room."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivreid.data import cache as cache_module
from ivreid.data import clean_caches, list_caches
from ivreid.data.cache import CacheKey, open_cache
from ivreid.errors import DataError


def pictures(root: Path, count: int) -> tuple[str, ...]:
    root.mkdir()
    names = tuple(f"{number}.png" for number in range(count))
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 4, 3), number, dtype=np.uint8)).save(root / name)
    return names


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """Four caches: in use, of changed pictures, of pictures that are gone, and a damaged one."""
    for name, count in (("used", 9), ("changed", 5), ("gone", 3), ("damaged", 2)):
        open_cache(tmp_path / "cache", CacheKey(tmp_path / name, pictures(tmp_path / name, count), (8, 4)))
    os.utime(tmp_path / "changed" / "0.png", ns=(1, 1))
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    damaged = next(one.path for one in list_caches(tmp_path / "cache") if one.pictures == 2)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (tmp_path / "cache" / ".images-x.safetensors.abc.tmp").write_bytes(b"half")
    os.utime(tmp_path / "cache" / ".images-x.safetensors.abc.tmp", (1, 1))
    return tmp_path / "cache"


def test_each_is_listed_with_why_it_is_useless(caches: Path) -> None:
    found = {Path(one.root).name: one for one in list_caches(caches)}
    assert {name: one.useless.partition(" (")[0] for name, one in found.items()} == {
        "used": "",
        "changed": "its pictures have changed",
        "gone": "its pictures are gone",
        "": "damaged or of another version",
    }
    assert (found["used"].pictures, found["used"].image_size) == (9, (8, 4))
    assert found["used"].bytes == found["used"].path.stat().st_size


def test_cleaning_leaves_what_a_run_will_read_and_all_means_all(caches: Path) -> None:
    used = next(one for one in list_caches(caches) if not one.useless)
    assert len(clean_caches(caches)) == 3
    assert list_caches(caches) == [used]
    assert not list(caches.glob(".*.tmp"))
    assert clean_caches(caches) == []
    assert [one.path for one in clean_caches(caches, everything=True)] == [used.path]
    assert list_caches(caches) == []
    assert list_caches(caches / "none") == []


def test_a_cache_is_not_begun_where_it_does_not_fit(tmp_path: Path, monkeypatch) -> None:
    names = pictures(tmp_path / "a", 3)
    key = CacheKey(tmp_path / "a", names, (8, 4))
    needed = 3 * 8 * 4 * 3
    monkeypatch.setattr(cache_module, "free_bytes", lambda _: needed - 1)
    with pytest.raises(DataError, match=r"288 bytes.*287 bytes are free.*--cache --clean.*data\.cache=false"):
        open_cache(tmp_path / "cache", key)
    assert not list((tmp_path / "cache").glob("*.safetensors"))
    monkeypatch.setattr(cache_module, "free_bytes", lambda _: needed + 10_000)
    assert len(open_cache(tmp_path / "cache", key)) == 3
    monkeypatch.setattr(cache_module, "free_bytes", lambda _: 0)
    assert len(open_cache(tmp_path / "cache", key)) == 3  # one that is there needs no room


def test_the_verb_lists_and_cleans(caches: Path, monkeypatch, capsys) -> None:
    from typer.testing import CliRunner

    from ivreid.cli.main import build_app

    monkeypatch.setenv("IVREID_CACHE", str(caches))
    app = build_app("doctor")
    listed = CliRunner().invoke(app, ["doctor", "--cache"])
    assert (
        listed.exit_code == 0
        and "9 pictures of" in listed.output
        and "its pictures are gone" in listed.output
    )
    assert "4 image caches in" in listed.output and "--clean deletes" in listed.output
    cleaned = CliRunner().invoke(app, ["doctor", "--cache", "--clean"])
    assert cleaned.output.count("deleted ") == 3 and "freed in" in cleaned.output
    assert "deletes what" not in CliRunner().invoke(app, ["doctor", "--cache"]).output
    assert CliRunner().invoke(app, ["doctor", "--clean"]).exit_code != 0
    assert CliRunner().invoke(app, ["doctor", "--cache", "--clean-all"]).exit_code == 0
    assert list_caches(caches) == []
