"""Nothing of the user's is lost or taken for something else: results, weights, figures of drawn people, settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from trees import tiny_tree, write_dataset

from ivreid.cli import main
from ivreid.config import Config, make_config
from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_features, read_marks
from ivreid.datasets.seen_pictures import content_key, sample_contents, seen_among
from ivreid.errors import ConfigError, ProtocolError, UsageError
from ivreid.evaluation import calibrate, evaluate_run
from ivreid.evaluation.leaks import leak_notes
from ivreid.evaluation.settings import tell_unserved
from ivreid.evaluation.validation import validation_notes
from ivreid.models import read_card, read_weights, write_weights
from ivreid.protocols import read_results
from ivreid.report import write_report
from ivreid.report.run_files import RunFiles
from ivreid.studies import run_study
from ivreid.training import train
from ivreid.training.resuming import resumed_config
from ivreid.training.setup import prepare_dataset


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = make_config({**tiny_tree(tiny, tmp_path_factory.mktemp("own") / "run"), "epochs": 2})
    folder = train(config).folder
    evaluate_run(folder, device="cpu")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def call(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def write_people(root: Path, seed: int = 3, people: int = 6) -> Path:
    """`ROOT/{visible,infrared}/{pid}/*.png` of random pictures."""
    rng = np.random.default_rng(seed)
    for kind in ("visible", "infrared"):
        for pid in range(1, people + 1):
            for name in ("a", "b"):
                folder = root / kind / str(pid)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)).save(
                    folder / f"{name}.png"
                )
    return root


def test_other_images_get_a_folder_of_their_own(run: Path, tmp_path: Path) -> None:
    before = (run / "results.json").read_bytes(), (run / "features.npz").read_bytes()
    said: list[str] = []
    hall, yard = write_people(tmp_path / "a" / "hall"), write_people(tmp_path / "yard", seed=4)
    evaluate_run(run, dataset="folder", data_root=hall, notice=said.append)
    evaluate_run(run, dataset="folder", data_root=yard)
    again = write_people(tmp_path / "b" / "hall", seed=5, people=7)  # another place of the same name
    evaluate_run(run, dataset="folder", data_root=again)
    assert before == ((run / "results.json").read_bytes(), (run / "features.npz").read_bytes())
    print8 = load_dataset("folder", again).fingerprint[:8]
    names = sorted(path.name for path in (run / "evaluations").iterdir())
    assert names == sorted(["folder-hall", f"folder-hall-{print8}", "folder-yard"])
    assert any("folder-hall" in line for line in said)
    place = run / "evaluations" / "folder-hall"
    assert len(read_features(place / "features.npz")) == 24
    assert (
        read_results(place / "results.json")[0].fingerprints["dataset"]
        == load_dataset("folder", hall).fingerprint
    )
    shown = RunFiles(run).results()
    assert shown[0].get("evaluation") is None
    assert {one.get("evaluation") for one in shown} == {None, *names}
    page = write_report(run).read_text()
    assert all(f"other images: {name}" in page for name in names)


def test_mirrored_features_lie_beside_the_plain_ones(run: Path) -> None:
    before = (run / "features.npz").read_bytes()
    evaluate_run(run, flip=True)
    assert (run / "features.npz").read_bytes() == before
    assert len(read_features(run / "features-flip.npz")) == len(read_features(run / "features.npz"))
    assert [one.tta for one in read_results(run / "results.json")] == [None, "flip"]


def test_figures_of_older_weights_leave_every_file(run: Path, tmp_path: Path) -> None:
    hall, said = write_people(tmp_path / "hall"), list[str]()
    evaluate_run(run, dataset="folder", data_root=hall)
    tensors, card = read_weights(run / "weights.safetensors")
    write_weights(run / "weights.safetensors", {**tensors, "norm.bias": tensors["norm.bias"] + 1e-6}, card)
    evaluate_run(run, settings=[{"mode": "indoor"}], notice=said.append)
    assert [one.options["mode"] for one in read_results(run / "results.json")] == ["indoor"]
    assert not (run / "evaluations" / "folder-hall" / "results.json").exists()
    assert len([line for line in said if "older weights" in line]) == 2


def test_weights_of_an_unfinished_training_say_so(
    tiny_config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone(Exception):
        pass

    def leave(_: object) -> None:
        raise Gone

    with pytest.raises(Gone):
        train(tiny_config(epochs=3), on_validation=leave)
    for given in (tmp_path / "run", tmp_path / "run" / "weights.safetensors"):
        assert call("evaluate", given, "--data", tiny_config().data.root) == 0
        assert "UNFINISHED: 1 of 3 epochs" in " ".join(capsys.readouterr().out.split())
    train(tiny_config(epochs=3), resume=True)
    assert call("evaluate", tmp_path / "run") == 0
    assert "UNFINISHED" not in capsys.readouterr().out


def test_the_same_pictures_are_known_under_another_name_and_number(
    run: Path, tiny: Path, tmp_path: Path
) -> None:
    dataset = load_dataset("sysu-mm01", tiny)
    for split, number in (("train", 100), ("val", 300)):
        root = tmp_path / split
        for sample in dataset.split(split):
            place = root / sample.modality / str(number + sample.pid)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(dataset.path(sample), place / f"x{sample.camid}-{sample.frame}.jpg")
        with pytest.raises(ProtocolError, match=r"seen at least \d+ of the .* test pictures.*--allow-leak"):
            evaluate_run(run, dataset="folder", data_root=root)
        marked = evaluate_run(run, dataset="folder", data_root=root, allow_leak=True)
        assert any(note.startswith("LEAK: the model has seen at least") for note in marked[0].notes)
    strangers = load_dataset("folder", write_people(tmp_path / "strangers"))
    assert leak_notes(read_card(run / "weights.safetensors"), strangers) == []


def test_which_contents_are_remembered(tmp_path: Path) -> None:
    dataset = load_dataset("folder", write_people(tmp_path / "p", people=4))
    samples = dataset.split("test")
    keys = sample_contents(dataset.root, samples)
    assert keys == sorted(content_key(dataset.path(sample)) for sample in samples)
    assert {sample.path for sample in seen_among(dataset.root, samples, keys[:3])} == {
        sample.path for sample in samples if content_key(dataset.path(sample)) in keys[:3]
    }
    black = dataset.path(samples[0]).read_bytes()  # one content of two people tells nothing
    dataset.path(samples[-1]).write_bytes(black)
    assert content_key(dataset.path(samples[0])) not in sample_contents(dataset.root, samples)
    assert seen_among(dataset.root, samples, [content_key(dataset.path(samples[0]))]) == []
    assert seen_among(dataset.root, samples, [7, None, "x", "12-"]) == []  # type: ignore[list-item]


def test_figures_of_drawn_people_carry_a_badge_everywhere(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(tiny, tmp_path / "drawn"))
    (data / "synthetic.json").write_text("{}")
    folder = train(make_config({**tiny_tree(data, tmp_path / "run"), "epochs": 1})).folder
    assert call("evaluate", folder) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert read_results(folder / "results.json")[0].synthetic
    assert json.loads((folder / "results.json").read_text())[0]["synthetic"] is True
    marks = read_marks(folder / "features.npz")
    assert marks.split == "test" and marks.synthetic
    assert "synthetic people" in write_report(folder).read_text()
    assert read_card(folder / "weights.safetensors")["dataset"]["synthetic"] is True
    assert call("card", folder) == 0
    text = (folder / "README.md").read_text()
    assert "SYNTHETIC people, drawn by ivreid" in text and "**synthetic people**" in text
    capsys.readouterr()
    assert call("score", folder / "features.npz", "--protocol", "sysu-mm01") == 0
    assert "SYNTHETIC" in capsys.readouterr().out


def test_figures_of_photographs_carry_none(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("score", run / "features.npz", "--protocol", "sysu-mm01") == 0
    assert "SYNTHETIC" not in capsys.readouterr().out
    assert not read_results(run / "results.json")[0].synthetic
    assert "synthetic people" not in write_report(run).read_text()


def test_a_validation_on_few_people_says_so(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    few = tiny_config()
    (line,) = validation_notes(few, prepare_dataset(few))
    assert "validation on 4 people says little" in line
    many = write_dataset(
        tmp_path / "many", {"train": range(1, 9), "val": range(9, 29), "test": range(29, 40)}
    )
    enough = tiny_config(data={"root": str(many)})
    assert validation_notes(enough, prepare_dataset(enough)) == []
    last = tiny_config(validation={"select": "last"})
    assert validation_notes(last, prepare_dataset(last)) == []


def test_a_selection_on_few_test_people_says_so(tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    published = {"select": "published-test", "setting": {"draw": "agw"}}
    enough = tiny_config(validation=published)
    assert validation_notes(enough, prepare_dataset(enough)) == []  # 24 of them
    few = write_dataset(tmp_path / "few", {"train": range(1, 9), "val": range(9, 29), "test": range(29, 32)})
    config = tiny_config(validation=published, data={"root": str(few)})
    (line,) = validation_notes(config, prepare_dataset(config))
    assert line.startswith("selection on the TEST identities, 3 people, says little: ")
    assert "validation.fraction" not in line  # which changes nothing here


def test_one_person_alone_is_always_found_and_a_run_says_so(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    alone = write_dataset(tmp_path / "alone", {"train": range(1, 9), "val": [9], "test": range(10, 35)})
    config = tiny_config(epochs=1, data={"root": str(alone)})
    (line,) = validation_notes(config, prepare_dataset(config))
    assert line.startswith("validation on 1 person says nothing: every figure is 100% by construction")
    said: list[str] = []
    assert train(config, notice=said.append).best["mAP"] == 1.0  # as was said; the run goes on
    assert line in said


def test_a_threshold_is_not_fitted_on_test_images_unasked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", run / "features.npz", "--weights", run, "--protocol", "sysu-mm01", "--fpr", "0.1"]
    assert call(*words) == 2
    assert "--allow-test" in capsys.readouterr().err
    assert call(*words, "--allow-test") == 0
    found = calibrate(run / "features.npz", protocol="sysu-mm01", fpr=0.1, allow_test=True)
    assert found.origin["tested_on"] == 288


def test_an_evaluation_section_is_checked_before_training(tiny_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"mode.*all, indoor"):
        tiny_config(evaluation=[{"mode": "outdoor"}])
    with pytest.raises(ConfigError, match="unknown key"):
        tiny_config(evaluation=[{"modus": "all"}])
    with pytest.raises(ConfigError, match="no re-ranking 'k-reciprocl'; did you mean k-reciprocal"):
        tiny_config(evaluation=[{"rerank": "k-reciprocl"}])


def test_what_the_data_cannot_serve_is_one_line_and_training_goes_on(
    tiny_config: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    settings: list[dict[str, Any]] = [
        {"mode": "indoor"},
        {"shots": 10},
        {"draw": "official"},
        {"direction": "infrared-to-visible"},
        {"rerank": "k-reciprocal"},
    ]
    config, said = tiny_config(epochs=1, evaluation=settings), list[str]()
    folder = train(config, notice=said.append).folder
    (line,) = [line for line in said if line.startswith("evaluation:")]
    assert "3 of 5 settings" in line
    for name in ("shots 10", "draw official", "direction infrared-to-visible"):
        assert name in line
    assert call("evaluate", folder, "--configured") == 0
    assert "3 of 5 evaluation settings are left out" in " ".join(capsys.readouterr().err.split())
    found = [(one.options["mode"], one.rerank is None) for one in read_results(folder / "results.json")]
    assert found == [("indoor", True), ("all", False)]
    with pytest.raises(UsageError, match="official draw"):  # asked for alone, it is no matter of leaving out
        evaluate_run(folder, settings=[{"draw": "official"}])


def test_settings_that_nothing_serves_are_told_and_kept(tiny_config: Callable[..., Config]) -> None:
    config, said = tiny_config(evaluation=[{"shots": 10}]), list[str]()
    assert tell_unserved(config, prepare_dataset(config), said.append) is config
    assert "each setting will be left out" in said[0]


def test_a_study_is_extended_by_other_seeds(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config(epochs=1, evaluation=[{}, {"shots": 10}])
    run_study(config, seeds=(0, 1))
    said: list[str] = []
    (result,) = run_study(config, seeds=(3,), notice=said.append)
    assert [one["name"] for one in result.extra["runs"]] == ["seed-0", "seed-1", "seed-3"]
    assert any("seed-0, seed-1 already" in line for line in said)
    assert len(read_results(Path(str(config.out)) / "results.json")[0].trials) == 3
    with pytest.raises(UsageError, match=r"holds seed-0, a run of a study over other things"):
        run_study(tiny_config(data={"dataset": "regdb"}, evaluation=[{}]), trials=(1,))


def test_resuming_needs_no_setting_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(json.dumps({**tiny_tree(tiny, Path("unset")), "epochs": 9}))
    changes = ["--set", "epochs=1", "--set", "optimizer.lr=0.002", "--set", "batch.instances=3"]
    assert call("train", "run.yaml", "--out", "a", *changes) == 0
    capsys.readouterr()
    assert call("train", "run.yaml", "--out", "a", "--resume", "--set", "epochs=2") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "optimizer.lr = 0.002 (not 0.001)" in said and "batch.instances = 3 (not 2)" in said
    assert "epochs = " not in said  # what is said now holds, and needs no remark
    assert call("train", "--out", "a", "--resume", "--set", "epochs=3") == 0
    told = capsys.readouterr()
    assert "epoch 3 of 3" in told.err and "not 0.001" not in told.err
    kept = resumed_config(None, ["out=a"])
    assert (kept.optimizer.lr, kept.epochs, kept.batch.instances) == (0.002, 3, 3)
    assert call("train", "--out", "a", "--resume", "--set", "optimizer.lr=0.5") == 2
    assert "optimizer.lr was 0.002, now 0.5" in " ".join(capsys.readouterr().err.split())
    assert call("train", "run.yaml", "--out", "a", "--resume", "--set", "method.name=agw") == 2
    assert call("train", "--out", "nowhere", "--resume") == 2
    assert "ivreid train CONFIG --out nowhere" in " ".join(capsys.readouterr().err.split())
    assert call("train", "--resume") == 2


def test_a_run_folder_that_was_moved_goes_on_where_it_lies(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its config.yaml still says where it was; nothing may be written there."""
    monkeypatch.chdir(tmp_path)
    old, copy = Path("old"), Path("elsewhere") / "copy"
    for place in (old, copy):
        shutil.copytree(trained, place)
        config = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
        (place / "config.yaml").write_text(yaml.safe_dump({**config, "out": "old"}), encoding="utf-8")
    before = (old / "checkpoints" / "last.safetensors").stat().st_mtime_ns
    assert call("train", copy / "config.yaml", "--resume", "--set", "epochs=3") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"--out {copy}, or with --out old" in error
    told: list[str] = []
    for words, out in ((["out=old"], old), ([("out", str(copy))], copy)):
        assert resumed_config(copy / "config.yaml", words, notice=told.append).out == out
    assert resumed_config("old/config.yaml", ["seed=2019"], notice=told.append).out == old
    assert not told
    assert (old / "checkpoints" / "last.safetensors").stat().st_mtime_ns == before
    shutil.rmtree(old)
    assert call("train", copy / "config.yaml", "--resume", "--set", "epochs=3") == 0
    assert f"was made for old, where no run is now: going on in {copy}" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not old.exists()
    assert yaml.safe_load((copy / "config.yaml").read_text(encoding="utf-8"))["out"] == str(copy)
    rows = (copy / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"epoch": 2' in rows


def test_tune_takes_the_pictures_it_is_given(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    seen: list[Config] = []

    class Enough(Exception):
        pass

    def take(config: Config, *_: object, **__: object) -> None:
        seen.append(config)
        raise Enough

    monkeypatch.setattr("ivreid.studies.tune", take)
    with pytest.raises(Enough):
        call("tune", "demo", "--data", tiny, "--out", tmp_path / "t")
    assert seen[0].data.synthetic is None
    assert seen[0].data.root == tiny
