"""Runs, weights, features and results of 0.1.0 still open, and mean what they meant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from old_release import SETTINGS, register, write_dataset

import ivreid
from ivreid.cli import main
from ivreid.config import load_config
from ivreid.protocols import read_results
from ivreid.training import load_state, train

RELEASE = Path(__file__).resolve().parents[1] / "fixtures" / "v0.1.0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the old run, where its relative paths lead to its dataset."""
    register()
    shutil.copytree(RELEASE / "run", tmp_path / "run")
    write_dataset(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def test_weights_embed_as_they_did(run):
    features = ivreid.read_features(run / "features.npz")
    images = features.images
    assert (len(images), sorted(set(images.pids))) == (60, [7, 8, 9, 10, 11])
    model = ivreid.load(run, device="cpu")
    assert model.card["calibration"]["fpr"] == 0.1
    assert (
        model.threshold == model.thresholds["default"] == model.card["calibration"]["threshold"]["estimate"]
    )
    modality = np.where(images.infrared, "infrared", "visible")
    again = model.embed([Path("data") / path for path in images.paths], modality=list(modality))
    # one convolution in single precision, summed in another order: a few units of 6e-8
    np.testing.assert_allclose(again, features.vectors, atol=2e-6)


def test_features_give_the_figures_that_were_written(run):
    features, results = ivreid.read_features(run / "features.npz"), read_results(run / "results.json")
    assert [r.options["mode"] for r in results] == ["all", "indoor"]
    for setting, old in zip(SETTINGS, results, strict=True):
        new = ivreid.evaluate(features, ivreid.make_protocol("sysu-mm01", **setting))
        # version 2 of the protocols moves figures of unknown people only, and here everyone is known
        assert (new.version, old.version, dict(new.options)) == (2, 1, dict(old.options))
        for name in ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP"):
            found, wanted = ([getattr(t, name) for t in r.trials] for r in (new, old))
            np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_the_run_is_evaluated_again(run):
    old = read_results(run / "results.json")[0]
    (new,) = ivreid.evaluate_run(run, settings=SETTINGS[:1], device="cpu")
    assert dict(new.fingerprints) == dict(old.fingerprints)
    assert len(read_results(run / "results.json")) == 2  # both are of one model on the same images


def test_training_goes_on(run):
    state = load_state(run / "checkpoints" / "last.safetensors")
    assert state.info["position"] == {"epoch": 2, "batch": 0, "step": 6}
    config = load_config(run / "config.yaml", ["epochs=3"])
    summary = train(config, resume=True)
    assert summary.steps == 9
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 10))
    after = load_state(run / "checkpoints" / "last.safetensors")
    assert after.tensors.keys() == state.tensors.keys()
    moved = [
        name
        for name in state.part("model")
        if not torch.equal(*(s.tensors[f"model.{name}"] for s in (state, after)))
    ]
    assert any("conv" in name for name in moved)


def test_best_opens(run):
    assert load_state(run / "checkpoints" / "best.safetensors").info["position"]["step"] in (3, 6)


@pytest.mark.parametrize("words", [["report", "run"], ["evaluate", "run", "--device", "cpu"]])
def test_verbs_take_the_run(run, words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    capsys.readouterr()
    assert (run / "report.html").exists() == (words[0] == "report")
