"""A method and a dataset of a plugin, from the command line: trained, evaluated, resumed, asked for again."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from plugin_text import DATASET, METHOD

import ivreid
from ivreid.catalogue import REGISTRIES
from ivreid.cli.main import main
from ivreid.config import load_config
from ivreid.errors import CheckpointError, ConfigError, UsageError
from ivreid.models import read_card
from ivreid.plugins import load_plugin

CONFIG = """
device: cpu
epochs: 1
data: {dataset: night, size: [32, 16], workers: 0}
augment: {padding: 2}
batch: {identities: 2, instances: 2}
method: {name: mine, backbone: test_efficientnet, pretrained: null}
validation: {every: 1, fraction: 0.4}
"""


def forget() -> None:
    """As a new process knows nothing of plugins."""
    for registry in REGISTRIES.values():
        registry.restore(({}, {}))


def ivreid_command(*words: object) -> int:
    forget()
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, `run`, and the plugin it was made with, `mine.py`."""
    folder = tmp_path_factory.mktemp("plugin")
    plugin = folder / "mine.py"
    plugin.write_text(METHOD + DATASET, encoding="utf-8")
    (folder / "c.yaml").write_text(CONFIG, encoding="utf-8")
    load_plugin(plugin)
    REGISTRIES["dataset"]["night"]().example(folder / "data")
    words = ("train", folder / "c.yaml", "--data", folder / "data", "--out", folder / "run")
    assert ivreid_command(*words, "--plugin", plugin) == 0
    forget()
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Run folder and plugin; a test's own copies, since some go on with the run."""
    folder = shutil.copytree(trained_once, tmp_path / "trained")
    return folder / "run", folder / "mine.py"


def test_the_command_to_come_asks_for_it_too(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, plugin = trained
    assert ivreid_command("train", run / "config.yaml", "--out", run, "--resume", "--plugin", plugin) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"evaluate {run} --plugin {plugin}")


def test_the_run_names_file_and_hash(trained: tuple[Path, Path]) -> None:
    import hashlib

    run, plugin = trained
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    expected = [
        {"kind": kind, "name": name, "source": "mine.py", "sha256": digest}
        for kind, name in (("method", "mine"), ("dataset", "night"))
    ]
    assert json.loads((run / "environment.json").read_text())["plugins"] == expected
    assert read_card(run / "weights.safetensors")["plugins"] == expected


def test_it_is_evaluated_by_the_plain_protocol(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, plugin = trained
    assert ivreid_command("evaluate", run, "--plugin", plugin, "--json", run.parent / "r.json") == 0
    assert "Cross-modality, infrared-to-visible" in capsys.readouterr().out
    result = json.loads((run.parent / "r.json").read_text())
    assert not [note for note in result["notes"] if "plugin" in note or "another than" in note]
    assert ivreid_command("report", run) == 0
    assert ivreid_command("data", "check", "night", run.parent / "data", "--plugin", plugin) == 0


def asks(text: str, kind: str, name: str) -> bool:
    pattern = (
        rf"the {kind} '{name}' came from mine\.py \(sha256 [0-9a-f]{{12}}\.\.\.\): give that file again with"
    )
    return re.search(pattern, " ".join(text.split())) is not None


def test_it_is_asked_for_again_and_nothing_in_the_folder_runs(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the plugin's name lies in the run folder and in the working directory; none is touched."""
    run, _ = trained
    for folder in (run, Path.cwd()):
        assert not (folder / "mine.py").exists()
    trap = run / "mine.py"
    trap.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    try:
        assert ivreid_command("evaluate", run) == 2
        assert asks(capsys.readouterr().err, "method", "mine")
        assert ivreid_command("train", run / "config.yaml", "--out", run, "--resume") == 2
        assert asks(capsys.readouterr().err, "dataset", "night")
        assert ivreid_command("train", run.parent / "c.yaml", "--out", run, "--resume") == 2
        assert asks(capsys.readouterr().err, "dataset", "night")
        forget()
        with pytest.raises(CheckpointError, match=r"the method 'mine' came from mine\.py"):
            ivreid.load(run)
        with pytest.raises(ConfigError, match=r"the dataset 'night' came from mine\.py"):
            load_config(run / "config.yaml")
        with pytest.raises(UsageError, match="unknown dataset 'night'"):
            ivreid.load_dataset("night", run.parent / "data")
    finally:
        trap.unlink()
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_told(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    run, plugin = trained
    changed = tmp_path / "mine.py"
    changed.write_text(plugin.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert ivreid_command("evaluate", run, "--plugin", changed, "--json", tmp_path / "r.json") == 0
    notes = json.loads((tmp_path / "r.json").read_text())["notes"]
    changed_since = "mine.py, where the {} '{}' comes from, has changed since the training: sha256"
    assert any(note.startswith(changed_since.format("method", "mine")) for note in notes)
    assert any(note.startswith(changed_since.format("dataset", "night")) for note in notes)
    resume = ("train", run / "config.yaml", "--out", run, "--set", "epochs=2", "--resume")
    assert ivreid_command(*resume, "--plugin", changed) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert f"warning: {changed_since.format('method', 'mine')}" in told
    forget()
    load_plugin(changed)
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        ivreid.load(run)
    assert changed_since.format("method", "mine") in caplog.text


def test_help_lists_what_a_plugin_brings(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ivreid_command("train", "--plugin", trained[1], "--help") == 0
    out = capsys.readouterr().out
    assert "iv-reid" in out and ", mine" in out and ", night" in out
    assert ivreid_command("train", "--help") == 0
    assert ", mine" not in capsys.readouterr().out


def test_a_plugin_that_raises_is_one_sentence_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n", encoding="utf-8")
    for verb in (["train", "sysu-mm01"], ["score", "f.npz", "--protocol", "regdb"], ["evaluate", "run"]):
        assert ivreid_command(*verb, "--plugin", tmp_path / "bad.py") == 2
        err = capsys.readouterr().err
        assert "bad.py cannot be used: line 2: ZeroDivisionError" in " ".join(err.split())
        assert "Traceback" not in err


def test_a_misspelt_name_finds_what_a_plugin_brings(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained[0].parent
    words = (
        "train",
        folder / "c.yaml",
        "--data",
        folder / "data",
        "--out",
        folder / "x",
        "--plugin",
        trained[1],
    )
    assert ivreid_command(*words, "--set", "method.name=mien") == 2
    assert "did you mean mine?" in capsys.readouterr().err
    assert ivreid_command(*words, "--set", "data.dataset=nigth") == 2
    assert "did you mean night?" in capsys.readouterr().err


def test_studies_take_it_too(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, plugin = trained
    words = ("train", run / "config.yaml", "--seeds", "1-2", "--out", tmp_path / "study", "--plugin", plugin)
    assert ivreid_command(*words, "--set", "validation.select=last") == 0
    (merged,) = json.loads((tmp_path / "study" / "results.json").read_text())
    assert len(merged["trials"]) == 2
