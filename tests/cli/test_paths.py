"""`~` is the home folder wherever a path is taken, no folder is named so, and none holds a control character."""

from pathlib import Path

import numpy as np
import pytest

from ivreid.config import load_config, make_config
from ivreid.data import default_cache_folder
from ivreid.datasets.features import write_features
from ivreid.errors import ConfigError, DataError, UsageError
from ivreid.paths import user_path
from ivreid.types import Embeddings, ImageTable


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder, and another working directory, in which nothing may appear."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    yield home
    assert list(here.iterdir()) == []


def test_on_the_command_line(ivreid, home):
    rng = np.random.default_rng(0)
    pids, camids, frames = np.array([(p, c, f) for p in range(1, 9) for c in range(1, 7) for f in (1, 2)]).T
    table = ImageTable(pids, camids, frames, np.isin(camids, (3, 6)))
    write_features(home / "f.npz", Embeddings(rng.normal(size=(len(pids), 4)), table))
    found = ivreid("score", "~/f.npz", "--protocol", "sysu-mm01", "--json", "~/out/o.json")
    assert found.status == 0 and (home / "out" / "o.json").exists()
    (home / "plug.py").write_text("x = 1\n")
    assert "registers no" in ivreid("methods", "--plugin", "~/plug.py").err
    assert ivreid("synth", "~/people", "--identities", 3, "--images", 1, "--size", "32x16").status != 0
    assert ivreid("data", "check", "folder", "~/nothing").err.startswith(f"error: {home}")


def test_in_a_configuration_and_on_set(home, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("data: {root: ~/data}\nout: ~/runs/a\n")
    config = load_config(file)
    assert (config.data.root, config.out) == (home / "data", home / "runs" / "a")
    assert load_config(file, ["out=~/b", ("data.root", "~/[no]: {x}")]).out == home / "b"
    assert load_config(file, [("data.root", "~/[no]: {x}")]).data.root == home / "[no]: {x}"
    assert make_config({"out": "runs/~backup"}).out == Path("runs/~backup")


def test_in_the_environment(home, monkeypatch):
    monkeypatch.setenv("IVREID_CACHE", "~/cache")
    assert default_cache_folder() == home / "cache"
    monkeypatch.delenv("IVREID_CACHE")
    assert default_cache_folder() == home / ".cache" / "ivreid"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/c")
    assert default_cache_folder() == home / "c" / "ivreid"


def test_initial_weights(home):
    from ivreid.models import create_backbone

    with pytest.raises(Exception, match="no such checkpoint file") as caught:
        create_backbone("resnet18", pretrained="~/r18.pth")
    assert str(home / "r18.pth") in str(caught.value)


def test_a_user_without_a_home_folder_is_told_the_variable(monkeypatch):
    def unknown(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", unknown)
    monkeypatch.delenv("IVREID_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(DataError, match=r"no home folder .*IVREID_CACHE=DIR"):
        default_cache_folder()
    with pytest.raises(UsageError, match=r"~/x: this machine knows no home folder .*\./~/x"):
        user_path("~/x")


@pytest.mark.parametrize("written", ['"C:\\new"', '"a\\tb"', '"\\e[2J"', '"a\\0b"'])
@pytest.mark.parametrize("key", ["out", "data.root"])
def test_an_escape_in_double_quotes_is_refused_with_the_way_to_write_it(tmp_path, written, key):
    section, _, name = key.rpartition(".")
    file = tmp_path / "c.yaml"
    file.write_text(f"{section}: {{{name}: {written}}}\n" if section else f"{name}: {written}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    said = str(caught.value)
    assert "single quotes" in said or "holds a character that no text has" in said  # the latter for \0
    assert key in said or "\\0" in written
    assert said.isprintable()
    assert load_config(_quoted(file, "'C:\\new'"), []).out == Path("C:\\new")


def _quoted(file, written):
    file.write_text(f"out: {written}\n")
    return file


def test_a_path_that_is_no_text_is_refused_where_it_must_be_written_down():
    with pytest.raises(ConfigError, match="no UTF-8"):
        make_config({"out": "runs/\udcff"})


def test_a_name_on_disk_may_be_odd_to_be_read(tmp_path):
    odd = tmp_path / "a\tb"
    odd.mkdir()
    assert user_path(odd) == odd
    with pytest.raises(UsageError, match="control character"):
        user_path(odd / "new")
