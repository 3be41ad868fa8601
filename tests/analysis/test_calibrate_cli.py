import json
import shutil

import numpy as np
import pytest

import ivreid
from ivreid import methods
from ivreid.analysis.calibration import fit_threshold
from ivreid.cli.main import main
from ivreid.datasets import load_dataset
from ivreid.datasets.features import write_features
from ivreid.inference import load
from ivreid.models.weights import read_card, read_weights, write_weights
from ivreid.protocols import make_protocol
from ivreid.synthetic import synthesise
from ivreid.types import Embeddings, ImageTable


def features(first_pid=1, people=15):
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(first_pid, first_pid + people), 8)
    camids = np.tile(np.repeat([3, 1, 2, 6], 2), people)
    frames = np.tile([1, 2], 4 * people)
    vectors = rng.normal(size=(people, 6))[pids - first_pid] + 0.5 * rng.normal(size=(len(pids), 6))
    return Embeddings(vectors, ImageTable(pids, camids, frames, np.isin(camids, (3, 6))))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A dataset and a run folder whose (untrained) weights name its validation identities."""
    folder = tmp_path_factory.mktemp("calibrate")
    synthesise(folder / "data", layout="sysu-mm01", identities=24, images=2, size=(32, 16), seed=1, workers=1)
    dataset = load_dataset("sysu-mm01", folder / "data")
    method = methods.build(
        "iv-reid", {"backbone": "test_resnet", "pretrained": None}, len(dataset.pids("train"))
    )
    card = {
        **method.card(),
        "preprocessing": {"size": [32, 16], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
        "dataset": {"name": "sysu-mm01", "fingerprint": dataset.fingerprint, "trial": None},
        "train_pids": list(dataset.pids("train")),
        "selection": {"on": "validation", "metric": "mAP", "pids": list(dataset.pids("val"))},
    }
    (folder / "run").mkdir()
    write_weights(folder / "run" / "weights.safetensors", method.state_dict(), card)
    (folder / "run" / "config.yaml").write_text(f"data:\n  root: {folder / 'data'}\n")
    return folder


@pytest.fixture
def run_folder(built, tmp_path):
    return shutil.copytree(built / "run", tmp_path / "run")


def change_card(folder, **changes):
    file = folder / "weights.safetensors"
    tensors, card = read_weights(file)
    write_weights(file, tensors, {**card, **changes})


def call(*arguments):
    with pytest.raises(SystemExit) as left:
        main(["calibrate", *(str(argument) for argument in arguments)])
    return left.value.code


def test_features_alone_are_calibrated_and_printed(tmp_path, capsys):
    write_features(tmp_path / "f.npz", features())
    assert (
        call(tmp_path / "f.npz", "--fpr", "0.05", "--protocol", "sysu-mm01", "--json", tmp_path / "c.json")
        == 0
    )
    found = fit_threshold(features(), fpr=0.05, protocol=make_protocol("sysu-mm01"))
    written = json.loads((tmp_path / "c.json").read_text())
    assert {key: written[key] for key in found.to_json()} == found.to_json()
    out = capsys.readouterr().out
    assert f"at most {found.threshold.estimate:.4f}" in out and "5.00%" in out and "stored" not in out


def test_features_are_stored_with_weights_and_nothing_else_changes(run_folder, tmp_path, capsys):
    write_features(tmp_path / "f.npz", features(first_pid=500))
    before, card = read_weights(run_folder / "weights.safetensors")
    assert call(tmp_path / "f.npz", "--fpr", "0.05", "--weights", run_folder) == 0
    after, new = read_weights(run_folder / "weights.safetensors")
    assert (
        new.pop("calibrations")["default"]["threshold"]["estimate"]
        == fit_threshold(features(500), fpr=0.05).threshold.estimate
    )
    assert new == card and before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    assert "stored in the card" in capsys.readouterr().out
    assert load(run_folder).card["calibrations"]["default"]["fpr"] == 0.05


def test_a_run_is_calibrated_on_its_validation_identities(built, run_folder, capsys):
    assert call(run_folder, "--fpr", "0.2", "--device", "cpu") == 0
    block = read_card(run_folder / "weights.safetensors")["calibrations"]["default"]
    dataset = load_dataset("sysu-mm01", built / "data")
    assert block["identities"] == len(dataset.pids("val"))
    assert block["source"] == "validation identities" and block["trained_on"] == 0
    samples = dataset.split("val")
    infrared = [s for s in samples if s.modality == "infrared"]
    visible = [s for s in samples if s.modality == "visible"]
    pairs = [(a, b) for a in infrared for b in visible if not (a.camid == 3 and b.camid == 2)]
    assert block["genuine_pairs"] == sum(a.pid == b.pid for a, b in pairs)
    assert block["impostor_pairs"] == sum(a.pid != b.pid for a, b in pairs)


def test_python_users_have_the_same_call(built, run_folder, tmp_path):
    ticks = []
    stored = ivreid.calibrate(
        run_folder,
        fpr=0.2,
        seed=3,
        data_root=built / "data",
        device="cpu",
        progress=lambda *t: ticks.append(t),
    )
    assert stored.weights == run_folder / "weights.safetensors"
    assert read_card(stored.weights)["calibrations"] == {"default": stored.to_json()}
    assert stored.origin["trained_on"] == 0 and ticks[-1][0] == ticks[-1][1] > 0
    write_features(tmp_path / "f.npz", features(first_pid=500))
    alone = ivreid.calibrate(tmp_path / "f.npz", fpr=0.05, seed=3, metric="euclidean")
    assert alone.weights is None
    assert alone.calibration == fit_threshold(features(500), fpr=0.05, seed=3, metric="euclidean")


def test_trained_people_are_refused_unless_allowed(run_folder, tmp_path, capsys):
    seen = read_card(run_folder / "weights.safetensors")["train_pids"]
    write_features(tmp_path / "f.npz", features(first_pid=seen[0]))
    before = (run_folder / "weights.safetensors").read_bytes()
    assert call(tmp_path / "f.npz", "--fpr", "0.05", "--weights", run_folder) == 2
    assert "trained on" in capsys.readouterr().err
    assert (run_folder / "weights.safetensors").read_bytes() == before
    assert call(tmp_path / "f.npz", "--fpr", "0.05", "--weights", run_folder, "--allow-leak") == 0
    assert read_card(run_folder / "weights.safetensors")["calibrations"]["default"]["trained_on"] > 0


def test_each_bad_call_has_its_message(built, run_folder, tmp_path, capsys):
    write_features(tmp_path / "f.npz", features())
    assert call(tmp_path / "f.npz", "--confidence", "2") == 2
    assert "between 0 and 1" in capsys.readouterr().err
    assert call(tmp_path / "none.npz") == 2
    assert "none.npz" in capsys.readouterr().err
    assert call(run_folder, "--weights", run_folder) == 2
    assert "go with a FEATURES.npz" in capsys.readouterr().err
    (run_folder / "config.yaml").unlink()
    assert call(run_folder) == 2
    assert "--data ROOT" in capsys.readouterr().err
    change_card(run_folder, dataset={"name": "sysu-mm01", "fingerprint": "0" * 16})
    assert call(run_folder, "--data", built / "data") == 2
    assert "not the same images" in capsys.readouterr().err
    change_card(run_folder, selection={"on": "last", "pids": []})
    assert call(run_folder, "--data", built / "data") == 2
    assert "names no validation identities" in capsys.readouterr().err


def test_a_threshold_is_never_printed_as_minus_zero():
    from ivreid.analysis.calibration import Calibration
    from ivreid.cli.calibration_text import pairs_sentence
    from ivreid.metrics.bootstrap import Interval

    below = np.nextafter(0.0, -1.0)
    found = Calibration("cosine", 0.01, Interval(0.1, below, 0.2), Interval(0.5, 0.4, 0.6), 0.1, 9, 9, 900)
    assert "interval 0.0000 to 0.2000" in pairs_sentence(found)
