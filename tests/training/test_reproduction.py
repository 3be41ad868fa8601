"""Reproducing published figures: the whole path, on tiny pictures in the real layouts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_evaluation import write_regdb
from trees import write_dataset

import ivreid
from ivreid.cli import main
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.methods import METHODS, build, get_method
from ivreid.models import write_weights
from ivreid.protocols import Result, make_protocol
from ivreid.reproduction import TEST_IDENTITIES, Reproduction, reproduce
from ivreid.retrieval import parse_reranker
from ivreid.synthetic import synthesise

TINY = [
    "data.size=[32,16]",
    "data.workers=0",
    "epochs=1",
    "steps=2",
    "batch.identities=2",
    "batch.instances=2",
    "method.backbone=test_efficientnet",
    "method.pretrained=null",
    "augment.padding=2",
]


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {"train": range(1, 7), "val": range(9, 11), "test": range(13, 19)}
    return write_dataset(tmp_path_factory.mktemp("sysu") / "data", splits)


def published_file(path: Path) -> Path:
    """An IV-ReID checkpoint of random numbers under the published names."""
    network = build("iv-reid", {"backbone": "resnet18", "pretrained": None, "stem_relu": False}, 395)
    theirs = {"backbone.": "base.", "norm.": "bottleneck.", "shared_classifier.": "share_classifier."}
    state = {}
    for name, value in network.state_dict().items():
        for ours, published in theirs.items():
            if name.startswith(ours):
                state[published + name.removeprefix(ours)] = value
    torch.save(state, path)
    return path


def test_a_checkpoint_is_tested_under_the_published_protocol(sysu: Path, tmp_path: Path) -> None:
    file = published_file(tmp_path / "theirs.pth")
    found = reproduce("iv-reid", sysu, checkpoint=file, out=tmp_path / "out", device="cpu")
    assert isinstance(found, Reproduction) and len(found.rows) == 1
    options = found.rows[0].result.options
    assert (options["mode"], options["shots"], options["draw"]) == ("all", 1, "iv-reid")
    rank1, mean_ap, inp = found.rows[0].figures()
    assert (
        rank1["published"] == pytest.approx(0.463) and inp["published"] is None and inp["difference"] is None
    )
    assert rank1["difference"] == pytest.approx(rank1["ours"] - 0.463)
    assert mean_ap["interval"]["low"] <= mean_ap["ours"] <= mean_ap["interval"]["high"]
    alone = ivreid.evaluate_run(
        tmp_path / "out" / "weights.safetensors",
        data_root=sysu,
        settings=[{"mode": "all", "shots": 1, "draw": "iv-reid"}],
        dataset="sysu-mm01",
    )[0]
    assert found.rows[0].result.trials == alone.trials
    said = " ".join(found.may_differ)
    for part in (
        "6 test identities, sysu-mm01 has 96; nothing can be said",
        "drawn as iv-reid, as published",
        "the authors chose the checkpoint's epoch",
        "published: The kept epoch was the best on the test identities.",
    ):
        assert part in said
    assert not {"selected_on", "trained_on"} & found.made.keys()
    text = found.file.read_text()
    written = json.loads(text)
    assert str(tmp_path) not in text and str(sysu) not in text
    assert written["made"]["checkpoint"] == "theirs.pth" and re.fullmatch(
        "[0-9a-f]{16}", written["made"]["sha256_16"]
    )
    assert Result.from_json(written["results"][0]).trials == alone.trials
    assert written["figures"][0]["compared"][0]["published"] == pytest.approx(0.463)
    assert written["dataset"]["fingerprint"] == found.report.fingerprint


def test_weights_of_ours_are_tested_where_they_lie_and_those_of_another_method_refused(
    sysu: Path, tmp_path: Path
) -> None:
    network = build("caj", {"backbone": "test_efficientnet", "pretrained": None}, 6, size=(32, 16))
    weights = tmp_path / "caj.safetensors"
    write_weights(weights, network.state_dict(), {**network.card(), "preprocessing": {"size": [32, 16]}})
    found = reproduce("caj", sysu, checkpoint=weights, out=tmp_path / "out", device="cpu")
    assert found.rows[0].result.tta == "flip (unit)", "as published"
    assert any("embedded, as published: flip (unit)" in line for line in found.may_differ)
    assert any("weights of ours, selected on: not known" in line for line in found.may_differ)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["reproduction.json"]
    with pytest.raises(CheckpointError, match="of the method caj, not of agw: ivreid reproduce caj"):
        reproduce("agw", sysu, checkpoint=weights, out=tmp_path / "out", device="cpu")


def test_without_a_checkpoint_the_published_recipe_is_trained(
    sysu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [word for change in TINY for word in ("--set", change)]
    with pytest.raises(SystemExit) as left:
        main(["reproduce", "caj", "--data", str(sysu), "--out", str(out), "--device", "cpu", *words])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("69.88", "66.89", "53.61", "Rank-1", "mINP", "as published", "the training was changed"):
        assert part in shown
    config = ivreid.load_config(out / "run" / "config.yaml")
    assert config.method["published_quirks"] and config.validation.select == "published-test"
    assert config.data.train_on == "train+val" and config.embedding.flip == "unit"
    assert config.evaluation[0].draw == "agw"
    written = json.loads((out / "reproduction.json").read_text())
    assert written["made"] == {
        "recipe": "caj-published",
        "changed": TINY,
        "seed": 0,
        "selected_on": "published-test",
        "selected_as_published": True,
    }
    said = " ".join(written["may_differ"])
    assert "the epoch was chosen on the test identities, as published, and the figures flatter" in said
    assert "were embedded, as published: flip (unit)" in said
    assert written["figures"][0]["tta"] == "flip (unit)"
    assert any("selected on test identities" in line for line in written["may_differ"])
    before = (out / "run" / "weights.safetensors").read_bytes()
    again = reproduce("caj", sysu, out=out, overrides=TINY, device="cpu")  # finished: tested again only
    assert (out / "run" / "weights.safetensors").read_bytes() == before
    assert again.rows[0].result.to_json()["trials"] == written["results"][0]["trials"]


def test_regdb_takes_the_published_splits_and_one_split_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_regdb(tmp_path / "regdb")
    asked: dict[str, Any] = {}

    def study(config: Any, *, trials: Any, **_: Any) -> Any:
        asked.update(trials=list(trials), evaluation=config.evaluation)
        raise KeyboardInterrupt

    def run(config: Any, **_: Any) -> Any:
        asked.update(trials=config.data.trial, out=config.out, evaluation=config.evaluation)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ivreid.reproduction.training.run_study", study)
        patch.setattr("ivreid.reproduction.training.train", run)
        for name, splits in (("agw", list(range(1, 11))), ("mpanet", 1), ("saai", 4)):
            with pytest.raises(KeyboardInterrupt):
                reproduce(name, data, out=tmp_path / name, overrides=["method.pretrained=null"], device="cpu")
            assert asked["trials"] == splits
    assert asked["out"] == tmp_path / "saai" / "run" / "trial-04"
    assert asked["evaluation"][0].rerank == "aim:k1=8,k2=2"
    found = reproduce("agw", data, trial=2, out=tmp_path / "two", overrides=TINY, device="cpu")
    (row,) = found.rows
    assert row.result.options["trial"] == 2 and row.result.options["direction"] == "visible-to-infrared"
    assert any("means over 10 splits, ours are of split 2" in line for line in found.may_differ)
    assert any("4 test identities, regdb has 206" in line for line in found.may_differ)


def test_a_split_that_is_done_is_found_again_whichever_way_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_regdb(tmp_path / "regdb"), tmp_path / "out"
    paper = get_method("agw").publication
    assert paper is not None
    on_one = tuple(replace(one, split=4 if one.dataset == "regdb" else None) for one in paper.figures)

    def made(trial: int | None) -> Reproduction:
        return reproduce("agw", data, trial=trial, out=out, overrides=TINY, device="cpu")

    with monkeypatch.context() as patch:
        patch.setattr(get_method("agw"), "publication", replace(paper, figures=on_one))
        first = made(None)
        assert [path.name for path in (out / "run").iterdir()] == ["trial-04"]
        assert all(figure["interval"] for figure in first.rows[0].figures())
        assert any("published on split 4 alone, as ours" in line for line in first.may_differ)
        weights = out / "run" / "trial-04" / "weights.safetensors"
        before = (weights.stat().st_mtime_ns, weights.read_bytes())
        again = made(4)
        assert (weights.stat().st_mtime_ns, weights.read_bytes()) == before
        assert again.rows[0].figures() == first.rows[0].figures()
        other = made(3)
        assert other.rows[0].result.options["trial"] == 3
        assert any("published on split 4 alone, ours is of split 3" in line for line in other.may_differ)
    said: list[str] = []
    lines = iter(["2 of 10 runs are finished already"])

    def notice(line: str) -> None:
        said.append(line)
        if line == next(lines, None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # the ten published splits, of which two are there
        reproduce("agw", data, out=out, overrides=TINY, device="cpu", notice=notice)
    assert said[-1] == "2 of 10 runs are finished already"


def test_what_was_kept_and_what_was_changed_is_said_as_it_is(sysu: Path, tmp_path: Path) -> None:
    words = [*TINY, "validation.select=last", "embedding.flip=average"]
    said = " ".join(reproduce("caj", sysu, out=tmp_path, overrides=words, device="cpu").may_differ)
    assert "trained here by caj-published: the last epoch was kept; another machine" in said
    assert "several views of each image were embedded: flip" in said


@pytest.mark.slow
def test_an_authors_checkpoint_of_regdb_is_tested_on_the_split_that_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_regdb(tmp_path / "regdb")
    file = published_file(tmp_path / "theirs.pth")
    paper = get_method("iv-reid").publication
    assert paper is not None
    for split in (1, 4):
        if split == 4:  # as SAAI's figures
            on_one = tuple(replace(one, split=4) for one in paper.figures)
            monkeypatch.setattr(get_method("iv-reid"), "publication", replace(paper, figures=on_one))
        found = reproduce("iv-reid", data, checkpoint=file, out=tmp_path / f"{split}", device="cpu")
        assert found.rows[0].result.options["trial"] == split
        said = f"tested on split {split}; if the authors trained it on another one"
        assert said in " ".join(found.may_differ)
    imported = tmp_path / "4" / "weights.safetensors"  # what `ivreid import` writes: ours, and of no split
    again = reproduce("iv-reid", data, checkpoint=imported, out=tmp_path / "again", device="cpu")
    assert again.rows[0].result.options["trial"] == 4 and said in " ".join(again.may_differ)
    assert again.rows[0].result.trials == found.rows[0].result.trials


def test_llcm_and_figures_that_were_published_re_ranked(tmp_path: Path, sysu: Path) -> None:
    llcm = tmp_path / "llcm"
    synthesise(llcm, layout="llcm", identities=6, images=2, size=(32, 16), workers=1)
    found = reproduce("agw", llcm, out=tmp_path / "agw", overrides=TINY, device="cpu")
    assert [row.published.source for row in found.rows] == ["paper", "rerun by the benchmark's authors"]
    assert found.rows[0].result is found.rows[1].result, "one setting is evaluated once"
    network = build("saai", get_method("saai").small, 6, size=get_method("saai").small_size)
    size = list(get_method("saai").small_size)
    weights = tmp_path / "saai.safetensors"
    write_weights(weights, network.state_dict(), {**network.card(), "preprocessing": {"size": size}})
    for words in (
        {"checkpoint": weights},
        {"overrides": TINY},
    ):  # found before the work, be it days of training
        with pytest.raises(UsageError, match=r"rand_perm_cam\.mat"):  # these figures are of the official draw
            reproduce("saai", sysu, out=tmp_path / "saai", device="cpu", **words)
    assert not (tmp_path / "saai" / "run").exists()


def test_a_row_that_the_images_cannot_serve_is_told_and_the_others_are_measured(
    sysu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = get_method("iv-reid").publication
    assert paper is not None
    official = replace(paper.figures[0], draw="official")
    monkeypatch.setattr(
        get_method("iv-reid"), "publication", replace(paper, figures=(official, *paper.figures))
    )
    network = build("iv-reid", {"backbone": "test_efficientnet", "pretrained": None}, 6, size=(32, 16))
    weights = tmp_path / "w.safetensors"
    write_weights(weights, network.state_dict(), {**network.card(), "preprocessing": {"size": [32, 16]}})
    said: list[str] = []
    found = reproduce(
        "iv-reid", sysu, checkpoint=weights, out=tmp_path / "out", device="cpu", notice=said.append
    )
    assert [row.published.draw for row in found.rows] == ["iv-reid"]
    assert said == [found.may_differ[0]] and "is left out" in said[0] and "rand_perm_cam.mat" in said[0]


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("evaluation=[]", "ivreid evaluate"),
        ("evaluation=[{direction: infrared-to-visible}]", "ivreid evaluate"),
        ("data.dataset=llcm", "give --dataset"),
        ("data.root=elsewhere", "give --data"),
        ("data.trial=3", "give --trial"),
        ("out=elsewhere", "give --out"),
        ("device=cuda", "give --device"),
        ("recipe=agw-published", "name another"),
        ("method.name=agw", "name another method"),
        ("data={size: [32, 16]}", "one by one, --set data.KEY=VALUE"),
        ("method={name: agw}", "one by one, --set method.KEY=VALUE"),
    ],
)
def test_what_a_reproduction_sets_itself_is_refused_before_any_work(
    tmp_path: Path, word: str, instead: str
) -> None:
    with pytest.raises(UsageError) as told:
        reproduce("saai", tmp_path / "nowhere", overrides=[*TINY, word], out=tmp_path / "out")
    assert str(told.value).startswith(f"--set {word}: ") and instead in str(told.value)
    assert not (tmp_path / "out").exists()


def test_weights_of_ours_say_how_they_were_trained(sysu: Path, tmp_path: Path) -> None:
    def told(name: str, **card: Any) -> tuple[Reproduction, str]:
        settings = {"backbone": "test_efficientnet", "pretrained": None}
        network = build("caj", settings, 6, size=(32, 16))
        weights = tmp_path / f"{name}.safetensors"
        write_weights(
            weights, network.state_dict(), {**network.card(), "preprocessing": {"size": [32, 16]}, **card}
        )
        found = reproduce("caj", sysu, checkpoint=weights, out=tmp_path / "out", device="cpu")
        return found, "\n".join(found.may_differ)

    trained = {"name": "llcm", "fingerprint": "0" * 16, "trial": None, "synthetic": True}
    found, said = told("other", dataset=trained, train_pids=[1, 2, 3], selection={"on": "validation"})
    assert found.may_differ[0].startswith("these weights were trained on LLCM, NOT on sysu-mm01: ")
    for part in (
        "weights of ours, selected on: validation; trained on 3 identities of llcm, SYNTHETIC people",
        "trained without the quirks of the published program",
        "method.backbone test_efficientnet (published: resnet50)",
        "method.pretrained None (published: imagenet)",
        "data.size [32, 16] (published: [288, 144])",
    ):
        assert part in said
    changed = {one["key"]: one for one in json.loads(found.file.read_text())["made"]["not_as_published"]}
    assert changed["method.published_quirks"] == {
        "key": "method.published_quirks",
        "ours": False,
        "published": True,
    }
    same = {"name": "sysu-mm01", "fingerprint": "0" * 16, "trial": None}
    found, said = told("same", dataset=same, train_pids=[1, 2])
    assert f"2 identities of sysu-mm01, of other images than these (fingerprint {'0' * 16}, here" in said
    assert "NOT on" not in said
    source = {"format": "caj", "file": "theirs.t", "sha256_16": "0" * 16}
    found, said = told("imported", source=source)
    assert "the authors chose the checkpoint's epoch" in said and "weights of ours" not in said
    assert found.made["imported_from"]["file"] == "theirs.t"


def test_what_cannot_be_reproduced_is_told_first(sysu: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean agw"):
        reproduce("agww", sysu)
    with pytest.raises(UsageError, match="nothing was published about baseline"):
        reproduce("baseline", sysu)
    with pytest.raises(UsageError, match="no figures of mpanet on llcm"):
        reproduce("mpanet", sysu, dataset="llcm")
    for named in (None, "llcm"):
        with pytest.raises(DataError, match="nowhere does not exist"):
            reproduce("agw", tmp_path / "nowhere", dataset=named, out=tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the known datasets; say with --dataset"):
        reproduce("agw", tmp_path / "empty")
    with pytest.raises(DataError, match="cannot be used as llcm"):
        reproduce("agw", tmp_path / "empty", dataset="llcm", out=tmp_path / "x")
    with pytest.raises(UsageError, match="a checkpoint is tested as it is"):
        reproduce("agw", sysu, checkpoint=tmp_path / "w.pth", overrides=["epochs=1"])
    other = tmp_path / "out" / "reproduction.json"
    other.parent.mkdir()
    other.write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=r"reproduction\.json .* would be overwritten"):
        reproduce("agw", sysu, out=other.parent, overrides=TINY)


def test_every_published_row_is_a_setting_that_the_protocol_has() -> None:
    for kind in METHODS.values():
        for one in kind.publication.figures if kind.publication else ():
            options = dict(one.options)
            if options.get("draw") == "official":
                options.pop("draw")  # asks for a file
            assert make_protocol(one.dataset, **options), one
            assert one.dataset in TEST_IDENTITIES
            assert (one.kind == "plain") == (not one.rerank), one
            if one.rerank:
                assert "transductive" in parse_reranker(one.rerank).label
