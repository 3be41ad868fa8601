"""Evaluating runs: the protocol's figures, and never on people trained on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import tiny_tree, write_dataset

from ivreid.cli import main
from ivreid.config import make_config
from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_features
from ivreid.errors import ProtocolError, UsageError
from ivreid.evaluation import evaluate_run
from ivreid.evaluation.leaks import leak_notes
from ivreid.models import read_weights, weights_fingerprint, write_weights
from ivreid.protocols import evaluate, make_protocol, read_results
from ivreid.training import train
from time_limits import seconds, wait_until


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config({**tiny_tree(tiny, tmp_path_factory.mktemp("trained") / "run"), "epochs": 1})
    return train(config).folder


def test_a_run_folder_gets_features_and_results(trained: Path, tiny: Path) -> None:
    settings = [{"mode": "all"}, {"mode": "indoor", "shots": 1}]
    results = evaluate_run(trained, settings=settings, device="cpu")
    assert [r.options["mode"] for r in results] == ["all", "indoor"]
    features = read_features(trained / "features.npz")
    expected = evaluate(features, make_protocol("sysu-mm01", mode="indoor"))
    assert results[1].trials == expected.trials
    dataset = load_dataset("sysu-mm01", tiny)
    assert len(features) == len(dataset.split("test"))
    assert dict(results[0].fingerprints) | {"split": ""} == {
        "dataset": dataset.fingerprint,
        "model": weights_fingerprint(*read_weights(trained / "weights.safetensors")),
        "split": "",
    }
    assert [r.options for r in read_results(trained / "results.json")] == [r.options for r in results]


def test_results_of_the_same_model_gather_and_of_another_are_dropped(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "results.json").unlink(missing_ok=True)

    def settings() -> list[tuple[str, str | None]]:
        return [(r.options["mode"], r.tta) for r in read_results(run / "results.json")]

    evaluate_run(run, settings=[{"mode": "all"}])
    evaluate_run(run, settings=[{"mode": "indoor"}])
    evaluate_run(run, settings=[{"mode": "all"}])
    assert settings() == [("indoor", None), ("all", None)]
    evaluate_run(run, settings=[{"mode": "all"}], flip=True)
    assert settings() == [("indoor", None), ("all", None), ("all", "flip")]
    tensors, card = read_weights(run / "weights.safetensors")
    write_weights(run / "weights.safetensors", tensors, {**card, "calibration": {"threshold": 0.5}})
    evaluate_run(run, settings=[{"mode": "all"}])  # the same model, whatever else its card says
    assert len(settings()) == 3
    write_weights(run / "weights.safetensors", {**tensors, "norm.bias": tensors["norm.bias"] + 1e-6}, card)
    evaluate_run(run, settings=[{"mode": "all"}])
    assert settings() == [("all", None)]


def test_rerankings_are_chosen_in_the_settings_or_for_all_and_labelled(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "results.json").unlink(missing_ok=True)
    settings = [
        {"mode": "all"},
        {"mode": "all", "rerank": "aim:k1=4,k2=1"},
        {"mode": "all", "rerank": "mser:k1=3,k2=2"},
    ]
    plain, aim, mser = evaluate_run(run, settings=settings, device="cpu")
    assert plain.rerank is None and plain.tta is None
    assert aim.rerank == "aim (k1=4, k2=1; gallery-transductive)" and aim.tta is None
    assert mser.rerank == "mser (k1=3, k2=2, weight=0.3, pooled=false; query-transductive)"
    assert mser.tta == "spectra" and mser.rerank in mser.title
    assert any("help of other test images" in note for note in mser.notes)
    features = read_features(run / "features.npz")  # of the images as they are, whatever else was embedded
    alone = evaluate_run(run, settings=[{"mode": "all"}], device="cpu")[0]
    assert plain.trials == alone.trials
    np.testing.assert_allclose(features.vectors, read_features(run / "features.npz").vectors, atol=1e-6)
    again = evaluate_run(run, settings=[{"mode": "all"}], rerank="aim:k1=4,k2=1", device="cpu")[0]
    assert again.trials == aim.trials and again.trials != plain.trials
    assert [r.rerank for r in read_results(run / "results.json")] == [mser.rerank, None, aim.rerank]
    with pytest.raises(UsageError, match="there is no re-ranking 'aimm'; did you mean aim"):
        evaluate_run(run, rerank="aimm", progress=lambda *_: pytest.fail("embedded"))


def test_the_configured_flip_is_used_and_named_and_weights_alone_are_not_mirrored(
    trained: Path, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "results.json").unlink(missing_ok=True)
    text = (run / "config.yaml").read_text()
    assert "flip: none" in text
    plain = evaluate_run(run)[0]
    (run / "config.yaml").write_text(text.replace("flip: none", "flip: unit"))
    mirrored = evaluate_run(run)[0]
    assert mirrored.tta == "flip (unit)" and plain.tta is None and mirrored.trials != plain.trials
    assert evaluate_run(run, flip="none")[0].trials == plain.trials
    assert evaluate_run(run, flip=True)[0].tta == "flip"
    alone = evaluate_run(run / "weights.safetensors", data_root=tiny)[0]
    assert alone.tta is None and alone.trials == plain.trials


def test_validation_mirrors_as_configured_and_the_published_selection_does_not(
    tiny: Path, tmp_path: Path
) -> None:
    from ivreid.evaluation.validation import validate
    from ivreid.methods import build

    dataset = load_dataset("sysu-mm01", tiny)
    network = build("iv-reid", {"backbone": "test_efficientnet", "pretrained": None}, 8, size=(32, 16)).eval()
    seen: list[int] = []
    embed = network.embed

    def counted(images: Any, infrared: Any) -> Any:
        seen.append(len(images))
        return embed(images, infrared)

    found = {}
    for select, split in (("validation", "val"), ("published-test", "test")):
        for flip in ("none", "unit"):
            tree = tiny_tree(tiny, tmp_path / "run")
            tree |= {"validation": {"select": select}, "embedding": {"flip": flip}}
            object.__setattr__(network, "embed", counted)
            seen.clear()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("ivreid.inference.embedder.prepare_for_inference", lambda one, *_, **__: one)
                validate(make_config(tree), dataset, network, device=network.norm.weight.device)
            found[select, flip] = sum(seen) / len(dataset.split(split))
    assert found == {
        ("validation", "none"): 1,
        ("validation", "unit"): 2,
        ("published-test", "none"): 1,
        ("published-test", "unit"): 1,
    }


def test_a_weights_file_alone_needs_the_data_and_writes_nothing(
    trained: Path, tiny: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    shutil.copy(trained / "weights.safetensors", weights)
    with pytest.raises(UsageError, match="--data ROOT"):
        evaluate_run(weights)
    alone = evaluate_run(weights, data_root=tiny)
    assert alone[0].trials == evaluate_run(trained)[0].trials
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    tensors, card = read_weights(weights)
    write_weights(weights, tensors, {**card, "dataset": None, "train_pids": None})
    with pytest.raises(UsageError, match="does not say which dataset"):
        evaluate_run(weights)
    unknown = evaluate_run(weights, data_root=tiny, dataset="sysu-mm01")
    assert any("cannot be checked" in note for note in unknown[0].notes)


def test_a_wrong_option_is_told_before_any_embedding(trained: Path) -> None:
    with pytest.raises(UsageError, match="direction"):
        evaluate_run(
            trained,
            settings=[{"direction": "visible-to-infrared"}],
            progress=lambda *_: pytest.fail("embedded"),
        )


def test_identities_trained_on_are_refused(trained: Path, tmp_path: Path) -> None:
    # another split of the same layout, whose test identities include ones trained on
    other = write_dataset(
        tmp_path / "other", {"train": range(20, 25), "val": range(25, 30), "test": range(5, 20)}
    )
    with pytest.raises(ProtocolError, match=r"has seen 8 of the 15 test identities .*--allow-leak"):
        evaluate_run(trained, data_root=other)
    results = evaluate_run(trained, data_root=other, allow_leak=True)
    assert any(note.startswith("LEAK") for note in results[0].notes)


def card(**changes: Any) -> dict[str, Any]:
    base = {"name": "sysu-mm01", "fingerprint": "f", "trial": None}
    return {
        "dataset": base | changes.pop("dataset", {}),
        "train_pids": [1, 2],
        "selection": {"pids": []},
        **changes,
    }


def test_what_counts_as_a_leak(tiny: Path) -> None:
    dataset = load_dataset("sysu-mm01", tiny)  # test identities 13 to 36
    assert leak_notes(card(), dataset) == []
    for leaky in (card(train_pids=[1, 13]), card(selection={"pids": [36]})):  # selected on is seen, too
        with pytest.raises(ProtocolError, match="has seen 1 of the 24"):
            leak_notes(leaky, dataset)
    # the same numbers in another dataset are other people, unless the files are the same
    assert leak_notes(card(train_pids=[13], dataset={"name": "llcm"}), dataset) == []
    with pytest.raises(ProtocolError):
        leak_notes(
            card(train_pids=[13], dataset={"name": "csv", "fingerprint": dataset.fingerprint}), dataset
        )
    assert "cannot be checked" in leak_notes(card(train_pids=[]), dataset)[0]
    assert "cannot be checked" in leak_notes({}, dataset)[0]


def write_regdb(root: Path) -> Path:
    """Eight identities, four trained on in each of two trials (the other eight trials repeat the first)."""
    rng = np.random.default_rng(0)
    (root / "idx").mkdir(parents=True)
    for kind in ("Visible", "Thermal"):
        letter = kind[0].lower()
        paths: dict[int, list[str]] = {}
        for pid in range(1, 9):
            folder = root / kind / str(pid)
            folder.mkdir(parents=True)
            for frame in range(1, 11):
                name = f"male_front_{letter}_{frame:05d}_{pid}.bmp"
                Image.fromarray(rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)).save(folder / name)
                paths.setdefault(pid, []).append(f"{kind}/{pid}/{name}")
        for trial in range(1, 11):
            train_pids = range(5, 9) if trial == 2 else range(1, 5)
            for split, pids in (("train", train_pids), ("test", sorted(set(range(1, 9)) - set(train_pids)))):
                lines = [f"{path} {label}" for label, pid in enumerate(pids) for path in paths[pid]]
                (root / "idx" / f"{split}_{kind.lower()}_{trial}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_regdb_is_tested_on_its_own_trial_only(tmp_path: Path) -> None:
    data = write_regdb(tmp_path / "regdb")
    tree = tiny_tree(data, tmp_path / "run")
    tree["data"] |= {"dataset": "regdb", "trial": 2}
    run = train(
        make_config({**tree, "epochs": 1, "batch": {"identities": 3}, "validation": {"fraction": 0.25}})
    ).folder
    own = evaluate_run(run)
    assert own[0].options["trial"] == 2
    for trial in (1, 3):
        with pytest.raises(ProtocolError, match=rf"trained on trial 2, this is trial {trial}.*--trial 2"):
            evaluate_run(run, trial=trial)
    assert any(note.startswith("LEAK") for note in evaluate_run(run, trial=1, allow_leak=True)[0].notes)
    _, seen = read_weights(run / "weights.safetensors")
    assert seen["dataset"]["trial"] == 2
    assert set(seen["train_pids"]) | set(seen["selection"]["pids"]) == {5, 6, 7, 8}
    assert len(seen["train_pids"]) == 3


# The command line


def call(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def test_train_and_evaluate_from_the_command_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(json.dumps(tiny_tree(tiny, Path("unset"))))
    words = ["train", "run.yaml", "--out", "runs/a", "--data", str(tiny), "--set", "epochs=1"]
    assert call(*words) == 0
    out = capsys.readouterr()
    assert "runs/a/weights.safetensors" in out.out
    assert "epoch 1 of 1" in out.err
    assert call(*words) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert call(*words, "--resume") == 0
    capsys.readouterr()
    assert call("evaluate", "runs/a", "--json", "one.json") == 0
    shown = capsys.readouterr().out
    one = json.loads(Path("one.json").read_text())
    assert isinstance(one, dict)
    assert f"{100 * one['mean']['rank1']:.2f}" in shown
    assert f"± {100 * one['std']['rank5']:.2f}" in shown
    capsys.readouterr()
    assert call("evaluate", "runs/a", "--flip", "--json", "flip.json") == 0  # without a value: as in 0.1.0
    assert (
        call("evaluate", "runs/a", "--flip", "unit", "--rerank", "aim:k1=2,k2=1", "--json", "unit.json") == 0
    )
    flips = [json.loads(Path(name).read_text()) for name in ("flip.json", "unit.json")]
    assert [flip["tta"] for flip in flips] == ["flip", "flip (unit)"]
    assert flips[1]["rerank"] == "aim (k1=2, k2=1; gallery-transductive)"
    assert "gallery-transductive" in " ".join(capsys.readouterr().out.split())
    assert call("evaluate", "runs/a", "--flip=units") == 2
    assert "did you mean unit?" in capsys.readouterr().err
    assert call("evaluate", "runs/a", "--configured", "--mode", "all") == 2
    assert call("evaluate", "runs/a", "--configured") == 0
    assert call("evaluate", "runs/none") == 2
    assert "no such weights file or run folder" in capsys.readouterr().err
    assert call("train", "run.yaml", "--set", "optimizer.lrr=1") == 2
    assert "did you mean lr?" in capsys.readouterr().err


def test_the_published_commands_train_and_test_on_a_small_scale(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_ini import PUBLISHED

    monkeypatch.chdir(tmp_path)
    Path("published.ini").write_text(
        PUBLISHED.format(dataset="SYSUMM", margin=0.3)
        .replace("384, 128", "32, 16")
        .replace("PADDING = 10", "PADDING = 2")
        .replace("TRAIN_BATCH_SIZE = 64", "TRAIN_BATCH_SIZE = 32")
        .replace("PRETRAIN_PATH = weights/resnet50.pth", "PRETRAIN_PATH =")
        .replace("NAME = resnet50", "NAME = resnet18")
        .replace("MAX_EPOCHS = 100", "MAX_EPOCHS = 1")
    )
    assert call("train", "published.ini", "--data", str(tiny)) == 0
    told = capsys.readouterr().err
    assert "no effect" in told
    assert "published-test" in told
    assert call("evaluate", "output/run", "--configured", "--json", "out.json") == 0
    assert json.loads(Path("out.json").read_text())["options"]["draw"] == "iv-reid"


@pytest.mark.slow
def test_ctrl_c_at_the_command_line_leaves_with_130_and_no_traceback(tiny: Path, tmp_path: Path) -> None:
    import signal

    (tmp_path / "run.yaml").write_text(json.dumps({**tiny_tree(tiny, tmp_path / "run"), "epochs": 10000}))
    child = subprocess.Popen(
        [sys.executable, "-m", "ivreid", "train", str(tmp_path / "run.yaml")],
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "run" / "metrics.jsonl"
    wait_until(lambda: child.poll() is not None or (log.exists() and log.stat().st_size > 2000))
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=seconds(120))
    assert child.returncode == 130
    assert "stopped by SIGINT after step" in said
    assert "--resume" in said
    assert "Traceback" not in said
