"""The page that weights need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import ivreid
from ivreid import methods
from ivreid.cli.main import build_app
from ivreid.errors import UsageError
from ivreid.evaluation.model_card import write_model_card
from ivreid.models import write_weights
from ivreid.protocols import evaluate, make_protocol, write_results


@pytest.fixture
def run(tmp_path: Path) -> Path:
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3, size=(64, 32))
    card = {
        **method.card(),
        "preprocessing": {"size": [64, 32]},
        "dataset": {"name": "regdb", "fingerprint": "abc123", "trial": 4},
        "train_pids": [1, 2, 3],
        "selection": {"on": "validation"},
        "licence": "not stated",
    }
    write_weights(tmp_path / "weights.safetensors", method.state_dict(), card)
    return tmp_path


def results() -> ivreid.Result:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(20), 4)
    infrared = np.tile([False, False, True, True], 20)
    images = ivreid.ImageTable(pids, 1 + infrared, np.tile([1, 2, 1, 2], 20), infrared)
    vectors = rng.normal(size=(20, 8))[pids] + rng.normal(size=(80, 8))
    return evaluate(ivreid.Embeddings(vectors, images), make_protocol("cross-modality"))


def test_a_card_names_data_protocol_figures_licence_and_limits(run: Path) -> None:
    found = results()
    write_results(run / "results.json", found)
    text = write_model_card(run, licence="mit").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "mit"
    for part in (
        "regdb, fingerprint abc123, trial 4",
        "3 training identities; images of 64 x 32",
        found.title,
    ):
        assert part in text
    assert f"{100 * found.mean['mAP']:.1f} ± {100 * found.std['mAP']:.1f}" in text
    assert "let a person decide" in text


def test_without_results_it_says_so_and_replaces_nothing(run: Path) -> None:
    assert "None measured yet" in write_model_card(run / "weights.safetensors").read_text()
    (run / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"README\.md is there already.*--overwrite"):
        write_model_card(run)
    done = CliRunner().invoke(build_app("card"), ["card", str(run), "--out", str(run / "card.md")])
    assert done.exit_code == 0, done.output
    assert (run / "card.md").is_file()
    assert (run / "README.md").read_text() == "mine"
