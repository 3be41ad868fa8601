"""One study and one search by the real commands: train, test, interrupt, go on, merge."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ivreid.cli import main
from ivreid.config import load_config
from ivreid.protocols import read_results
from ivreid.synthetic import synthesise
from time_limits import seconds

CONFIG = """
device: cpu
epochs: 3
data: {dataset: regdb, root: ROOT, size: [32, 16], workers: 0}
augment: {padding: 2}
batch: {identities: 2, instances: 2}
method: {name: iv-reid, backbone: test_efficientnet, pretrained: null}
validation: {every: 1, fraction: 0.34, metric: mAP}
evaluation: [{direction: infrared-to-visible}, {direction: visible-to-infrared}]
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A configuration of tiny runs on twelve synthetic people in RegDB's layout."""
    folder = tmp_path_factory.mktemp("studies")
    synthesise(folder / "data", layout="regdb", identities=12, images=3, size=(32, 16), seed=1, workers=1)
    file = folder / "tiny.yaml"
    file.write_text(CONFIG.replace("ROOT", str(folder / "data")))
    return file


def ivreid(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


KILLED = """
import os, signal, sys
from ivreid.cli import main

saves = 0

def kill_at_second_save(event, arguments):
    global saves
    if event == "os.rename" and str(arguments[1]).endswith("trial-02/checkpoints/last.safetensors"):
        saves += 1
        if saves == 2:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill_at_second_save)
main(sys.argv[1:])
"""


def test_a_study_over_splits_killed_and_gone_on_with(config, tmp_path, capsys):
    command = ["train", config, "--trials", "1-2", "--out", tmp_path / "study", "--set", "epochs=4"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, command)],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=seconds(240),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    broken = tmp_path / "study" / "trial-02" / "checkpoints" / "last.safetensors"
    assert broken.exists() and not (tmp_path / "study" / "results.json").exists()
    first = (tmp_path / "study" / "trial-01" / "weights.safetensors").stat().st_mtime_ns
    assert ivreid(*command) == 0
    out, err = capsys.readouterr()
    assert "1 of 2 runs are finished already" in err and "trial-02 (2 of 2): resuming" in err
    assert (tmp_path / "study" / "trial-01" / "weights.safetensors").stat().st_mtime_ns == first
    merged = read_results(tmp_path / "study" / "results.json")
    assert [(len(one.trials), one.options["trial"]) for one in merged] == [(2, "1-2"), (2, "1-2")]
    singles = [read_results(tmp_path / "study" / f"trial-0{n}" / "results.json")[0] for n in (1, 2)]
    assert merged[0].trials == tuple(one.trials[0] for one in singles)
    assert f"{100 * merged[0].mean['mAP']:.2f}" in out and f"± {100 * merged[0].std['mAP']:.2f}" in out

    straight = [*command[:5], tmp_path / "straight", *command[6:]]
    assert ivreid(*straight) == 0
    uninterrupted = read_results(tmp_path / "straight" / "results.json")
    assert [one.trials for one in uninterrupted] == [one.trials for one in merged]


def test_a_study_over_seeds(config, tmp_path, capsys):
    assert ivreid("train", config, "--seeds", "0,1", "--out", tmp_path, "--set", "epochs=1") == 0
    merged = read_results(tmp_path / "results.json")
    assert [run["name"] for run in merged[0].extra["runs"]] == ["seed-0", "seed-1"]
    assert merged[0].options["trial"] == 1 and len(merged[0].trials) == 2
    configs = [load_config(tmp_path / name / "config.yaml") for name in ("seed-0", "seed-1")]
    assert [one.seed for one in configs] == [0, 1]
    assert ivreid("train", config, "--trial", 1, "--trials", "1-2", "--out", tmp_path) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert ivreid("train", config, "--trials", "0-3", "--out", tmp_path) == 2
    assert "regdb has the splits 1-10, there is no 0" in capsys.readouterr().err


def test_a_search_and_training_with_what_it_found(config, tmp_path, capsys):
    pytest.importorskip("optuna")
    space = tmp_path / "space.yaml"
    space.write_text("search: {optimizer.lr: {low: 1e-5, high: 1e-2, log: true}}\n")
    command = ["tune", config, "--out", tmp_path / "search", "--space", space, "--trials"]
    assert ivreid(*command, 1) == 0
    assert ivreid(*command, 3) == 0
    out, err = capsys.readouterr()
    assert "trial 1 of 1: optimizer.lr=0.0001" in err and "trial 3 of 3" in err
    assert "on validation identities" in out and "next: ivreid train" in out
    assert sorted(path.name for path in (tmp_path / "search" / "trials").iterdir()) == [
        "0000",
        "0001",
        "0002",
    ]
    assert (tmp_path / "search" / "tuning.png").stat().st_size > 10_000
    for run in (tmp_path / "search" / "trials").iterdir():
        assert not (run / "results.json").exists() and not (run / "features.npz").exists()  # never tested
    shutil.rmtree(tmp_path / "search" / "trials")
    assert ivreid("train", tmp_path / "search" / "best.yaml") == 0
    assert (tmp_path / "search" / "best" / "weights.safetensors").exists()
    assert ivreid(*command, 3, "--set", "validation.select=published-test") == 2
    assert "TEST identities" in capsys.readouterr().err
