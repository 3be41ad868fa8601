"""How published programs chose their weights on the test identities, and that `NAME-published` does the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivreid.config import Config, make_config
from ivreid.datasets import Dataset, load_dataset
from ivreid.errors import ConfigError
from ivreid.evaluation.validation import score_published, selection_notes, selection_protocol
from ivreid.methods import METHODS
from ivreid.protocols import evaluate, make_protocol
from ivreid.retrieval import parse_reranker
from ivreid.synthetic import synthesise
from ivreid.training import read_log, train
from ivreid.types import Embeddings

Make = Callable[..., Config]

SYSU_DRAWS = {
    **dict.fromkeys(("agw", "caj", "caj-plus", "deen", "pmt", "dns"), "agw"),
    **dict.fromkeys(("mpanet", "mcja", "saai", "idkl"), "official"),
    "iv-reid": "iv-reid",
}
"""The galleries that each published program scored."""


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("sysu") / "data"
    synthesise(root, layout="sysu-mm01", identities=16, images=3, size=(32, 16), workers=1)
    return load_dataset("sysu-mm01", root)


def published(name: str, dataset: str = "sysu-mm01", **validation: Any) -> Config:
    return make_config(
        {"recipe": f"{name}-published", "data": {"dataset": dataset}, "validation": validation}
    )


def drawn(dataset: Dataset) -> Embeddings:
    images = dataset.table("test")
    return Embeddings(np.random.default_rng(0).normal(size=(len(images), 8)), images)


def test_the_gallery_is_drawn_as_the_published_program_drew_it() -> None:
    assert set(SYSU_DRAWS) == {
        name for name, kind in METHODS.items() if kind.publication and kind.publication.figures
    }
    for name, draw in SYSU_DRAWS.items():
        assert published(name).validation.setting.draw == draw
        assert published(name, "regdb").validation.setting.draw is None


def test_what_else_is_known_of_single_methods() -> None:
    mpanet, dns, saai = (published(name).validation for name in ("mpanet", "dns", "saai"))
    assert [done for done in range(1, 141) if mpanet.is_due(done)] == [120, 125, 130, 135, 140]
    assert (dns.trials, dns.every, dns.metric) == (1, 1, "rank1")
    assert saai.setting.rerank == "aim:k1=30,k2=6"  # not the parameters of the published figures
    regdb = published("saai", "regdb")
    assert (regdb.validation.setting.rerank, regdb.data.trial) == ("aim:k1=8,k2=2", 4)
    assert published("agw", "regdb").data.trial is None


def test_figures_are_those_of_the_setting_its_reranking_and_its_first_trials(sysu: Dataset) -> None:
    embeddings, permutations = drawn(sysu), sysu.permutations
    assert permutations is not None
    plain = {
        draw: evaluate(embeddings, make_protocol("sysu-mm01", draw=draw, permutations=permutations))
        for draw in ("agw", "official", "iv-reid")
    }
    for name, draw in (("agw", "agw"), ("mpanet", "official"), ("iv-reid", "iv-reid")):
        found = score_published(embeddings, sysu, published(name).validation)
        assert found == {key: plain[draw].mean[key] for key in ("rank1", "mAP", "mINP")}
    first = plain["agw"].trials[0]
    found = score_published(embeddings, sysu, published("dns").validation)
    assert found == {"rank1": first.rank1, "mAP": first.mAP, "mINP": first.mINP}
    aim = evaluate(
        embeddings,
        make_protocol("sysu-mm01", draw="official", permutations=permutations),
        distance=parse_reranker("aim:k1=30,k2=6"),
    )
    assert score_published(embeddings, sysu, published("saai").validation)["rank1"] == aim.mean["rank1"]
    assert aim.mean["mAP"] != plain["official"].mean["mAP"]


def test_without_the_permutations_another_draw_is_taken_and_said(sysu: Dataset) -> None:
    without = replace(sysu, permutations=None)
    config = published("mpanet")
    assert selection_protocol(sysu, config.validation).options["draw"] == "official"
    assert selection_protocol(without, config.validation).options["draw"] == "agw"
    assert selection_notes(config, sysu) == []
    (note,) = selection_notes(config, without)
    assert "drawn as agw" in note and "rand_perm_cam.mat" in note
    assert selection_notes(published("mpanet", select="last"), without) == []


def test_the_first_validation_waits_and_the_last_does_not(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config(
        epochs=4, validation={"select": "published-test", "every": 2, "first": 3, "trials": 1}
    )
    rows = read_log(train(config).folder / "metrics.jsonl")
    assert [row["epoch"] for row in rows if row["kind"] == "validation"] == [3]
    late = tiny_config(epochs=3, out=str(tmp_path / "late"), validation={"every": 1, "first": 2})
    rows = read_log(train(late).folder / "metrics.jsonl")
    assert [row["epoch"] for row in rows if row["kind"] == "validation"] == [1, 2]


def test_what_cannot_be_scored_is_refused_before_the_first_step(tiny_config: Make) -> None:
    with pytest.raises(ConfigError, match=r"validation\.setting.*needs several embeddings of each image"):
        tiny_config(validation={"setting": {"rerank": "mser"}})
    with pytest.raises(ConfigError, match=r"validation\.setting\.draw: 'random' does not fit sysu-mm01"):
        tiny_config(validation={"setting": {"draw": "random"}})


def test_settings_for_another_dataset_are_those_of_the_one_that_is_named() -> None:
    for name, kind in METHODS.items():
        if kind.recipe is None or "llcm" in kind.recipe.datasets or not kind.recipe.datasets:
            continue
        said: list[str] = []
        there = make_config({"recipe": name, "data": {"dataset": "llcm"}}, notice=said.append)
        (note,) = said
        named = note.removesuffix(" are taken").split()[-1]
        here = make_config({"recipe": name, "data": {"dataset": named}})
        same = {"data": here.data, "evaluation": here.evaluation}
        assert there.model_copy(update=same) == here, name
