"""Open sets, mixed galleries and galleries of other sizes, each against explicit loops."""

import csv
import io
import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import ivreid
from ivreid import methods
from ivreid.analysis.beyond import FPIRS, RANKS, evaluate_beyond
from ivreid.analysis.full_evaluation import evaluate_in_full
from ivreid.analysis.result_tables import results_grid
from ivreid.cli.main import main
from ivreid.datasets import load_dataset
from ivreid.datasets.features import read_marks, write_features
from ivreid.errors import ProtocolError
from ivreid.metrics.distances import pairwise
from ivreid.models.weights import write_weights
from ivreid.protocols import Result, make_protocol, read_results
from ivreid.protocols.fixed_trial import DistanceMatrix
from ivreid.protocols.mixed_gallery import MixedGallery
from ivreid.protocols.open_set import OpenSet
from ivreid.synthetic import synthesise
from ivreid.types import Embeddings, ImageTable


def crowd(
    people=16, images=2, noise=0.7, cameras=((1, False), (2, False), (3, True), (4, True)), seed=0, bias=0.6
):
    rng = np.random.default_rng(seed)
    rows = [(p, c, f, ir) for p in range(people) for c, ir in cameras for f in range(1, images + 1)]
    pids, camids, frames, infrared = (np.array(column) for column in zip(*rows, strict=True))
    vectors = rng.normal(size=(people, 6))[pids] + noise * rng.normal(size=(len(rows), 6))
    vectors += bias * infrared[:, None] * rng.normal(size=6)
    return Embeddings(vectors, ImageTable(pids, camids, frames, infrared))


def lists(embeddings, protocol, trial):
    """For each query its pid and the (distance, pid, infrared) of what is not excluded, nearest first."""
    ids = embeddings.images
    query, gallery = ids.take(trial.query), ids.take(trial.gallery)
    excluded = protocol.excluded(query, gallery)
    distances = pairwise(embeddings.vectors[trial.query], embeddings.vectors[trial.gallery])
    for q in range(len(query)):
        kept = [g for g in range(len(gallery)) if excluded is None or not excluded[q, g]]
        kept.sort(key=lambda g: distances[q, g])
        yield (
            query.pids[q],
            query.infrared[q],
            [(distances[q, g], gallery.pids[g], gallery.infrared[g]) for g in kept],
        )


def test_an_open_set_counts_whom_it_finds_and_whom_it_mistakes():
    embeddings, protocol = crowd(), OpenSet.of(make_protocol("cross-modality"))
    found = evaluate_beyond(embeddings, protocol)
    block = found.extra["open_set"]
    trials = protocol.trials(embeddings.images)
    assert len(trials) == 10 and len({trial.gallery.tobytes() for trial in trials}) > 5
    rates = {fpir: [] for fpir in FPIRS}
    for trial in trials:
        there = set(embeddings.images.pids[trial.gallery].tolist())
        assert len(there) == 8  # half of sixteen
        absent, present = [], []
        for pid, _, ranked in lists(embeddings, protocol, trial):
            if pid not in there:
                absent.append(ranked[0][0])
            else:
                place = next(i for i, one in enumerate(ranked) if one[1] == pid)
                present.append((ranked[place][0], place + 1))
        assert (len(absent), len(present)) == (32, 32)
        for fpir in FPIRS:
            allowed = math.floor(fpir * len(absent))
            limit = sorted(absent)[allowed]  # a threshold lies below it
            rates[fpir].append([np.mean([d < limit and rank <= k for d, rank in present]) for k in RANKS])
    assert set(block["rates"]) == {"0.05", "0.1", "0.3"}  # 32 queries cannot show one in a hundred
    for fpir in (0.05, 0.1, 0.3):
        for i, k in enumerate(RANKS):
            values = [trial[i] for trial in rates[fpir]]
            assert block["rates"][f"{fpir:g}"][f"rank{k}"]["mean"] == pytest.approx(np.mean(values))
            assert block["rates"][f"{fpir:g}"][f"rank{k}"]["std"] == pytest.approx(np.std(values))
    assert (block["absent_queries"], block["present_queries"]) == (32, 32)
    assert "arXiv:1408.0872" in found.notes[-1] and "where 10% of the absent" in found.notes[-1]


def test_an_open_sets_figures_are_those_of_the_people_who_are_there():
    embeddings, protocol = crowd(), OpenSet.of(make_protocol("cross-modality"))
    result = evaluate_beyond(embeddings, protocol)
    first = [
        next(i for i, one in enumerate(ranked) if one[1] == pid) == 0
        for pid, _, ranked in lists(embeddings, protocol, protocol.trials(embeddings.images)[0])
        if any(one[1] == pid for one in ranked)
    ]
    assert result.trials[0].rank1 == pytest.approx(np.mean(first))
    assert (result.queries, result.valid_queries) == (64, 32)
    assert result.protocol == "open-set" and "Open-set, 50% of the people absent" in result.title
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_who_is_absent_is_the_same_everywhere_and_moves_with_the_draw():
    images = crowd().images
    one = OpenSet.of(make_protocol("cross-modality")).trials(images)
    shuffled = images.take(np.random.default_rng(0).permutation(len(images)))
    other = OpenSet.of(make_protocol("cross-modality")).trials(shuffled)

    def people(table, trials):
        return [sorted(set(table.pids[trial.gallery].tolist())) for trial in trials]

    assert people(images, one) == people(shuffled, other)
    assert people(images, one) != people(
        images, OpenSet.of(make_protocol("cross-modality"), seed=1).trials(images)
    )
    with pytest.raises(ProtocolError, match="3 people stand in queries and gallery"):
        OpenSet.of(make_protocol("cross-modality")).trials(crowd(3).images)


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_a_mixed_gallery_says_how_much_the_own_modality_is_favoured(bias):
    embeddings, protocol = crowd(bias=bias), MixedGallery.of(make_protocol("cross-modality"))
    result = evaluate_beyond(embeddings, protocol)
    (trial,) = protocol.trials(embeddings.images)
    ids = embeddings.images
    added = ids.infrared[trial.gallery]
    assert added.sum() == 32 and (~added).sum() == 64  # one of each person and infrared camera
    assert not set(trial.query.tolist()) & set(trial.gallery.tolist()) and len(trial.query) == 32
    for row, k in enumerate((1, 10, 20)):
        own, expected, strange, strange_expected = [], [], [], []
        for pid, infrared, ranked in lists(embeddings, protocol, trial):
            others = [one for one in ranked if one[1] != pid]
            own.append(np.mean([one[2] == infrared for one in ranked[:k]]))
            expected.append(np.mean([one[2] == infrared for one in ranked]))
            strange.append(np.mean([one[2] == infrared for one in others[:k]]))
            strange_expected.append(np.mean([one[2] == infrared for one in others]))
        assert result.extra["modality"][row] == {
            "k": k,
            "own": pytest.approx(np.mean(own)),
            "expected": pytest.approx(np.mean(expected)),
            "own_strangers": pytest.approx(np.mean(strange)),
            "expected_strangers": pytest.approx(np.mean(strange_expected)),
        }
    first = result.extra["modality"][0]
    assert (first["own_strangers"] > 0.9) == (bias > 1)
    assert result.protocol == "mixed-gallery" and "arXiv:2501.13307" in result.notes[-1]


def test_a_query_never_meets_itself_or_its_own_camera_in_a_mixed_gallery():
    embeddings, protocol = crowd(), MixedGallery.of(make_protocol("cross-modality"))
    (trial,) = protocol.trials(embeddings.images)
    ids = embeddings.images
    query, gallery = ids.take(trial.query), ids.take(trial.gallery)
    excluded = protocol.excluded(query, gallery)
    same = (query.pids[:, None] == gallery.pids) & (query.camids[:, None] == gallery.camids)
    np.testing.assert_array_equal(excluded, same)


@pytest.mark.parametrize("cmc", ["image", "identity"])
def test_ranks_in_smaller_galleries_are_those_over_every_draw_of_wrong_entries(cmc):
    embeddings = crowd(6, 1, noise=1.0, cameras=((1, False), (3, True)))
    protocol = make_protocol("cross-modality", cmc=cmc)
    whole = evaluate_beyond(embeddings, protocol, gallery_sizes=True)
    (trial,) = protocol.trials(embeddings.images)
    for block in whole.extra["gallery_sizes"]:
        hits = {rank: [] for rank in RANKS}
        for pid, _, ranked in lists(embeddings, protocol, trial):
            wrong = [one[1] for one in ranked if one[1] != pid]
            for kept in combinations(wrong, block["size"]):
                order = [one[1] for one in ranked if one[1] == pid or one[1] in kept]
                for rank in RANKS:
                    hits[rank].append(order.index(pid) < rank)
        for rank in RANKS:
            assert block[f"rank{rank}"] == pytest.approx(np.mean(hits[rank]), abs=1e-9)
    assert whole.extra["gallery_sizes"][-1]["size"] == 5
    assert whole.extra["gallery_sizes"][-1]["rank1"] == pytest.approx(whole.mean["rank1"])


@pytest.mark.parametrize("protocol", ["sysu-mm01", "llcm", "regdb"])
def test_the_whole_gallery_gives_the_plain_rank(protocol):
    cameras = (
        ((1, False), (2, False), (3, True), (6, True)) if protocol == "sysu-mm01" else ((1, False), (2, True))
    )
    embeddings = crowd(14, 3, cameras=cameras)
    chosen = make_protocol(protocol)
    result = evaluate_beyond(embeddings, chosen, gallery_sizes=True)
    sizes = result.extra["gallery_sizes"]
    assert sizes[-1]["rank1"] == pytest.approx(result.mean["rank1"], abs=0.02)  # all but a few wrong entries
    assert (np.diff([one["rank1"] for one in sizes]) <= 0).all()
    for variant in (OpenSet.of(chosen), MixedGallery.of(chosen)):
        assert evaluate_beyond(embeddings, variant).trials


def test_nothing_is_added_unasked_and_ready_distances_give_the_same():
    embeddings, plain = crowd(), make_protocol("cross-modality")
    assert evaluate_beyond(embeddings, plain) == evaluate_in_full(embeddings, plain)
    matrix = DistanceMatrix.of(pairwise(embeddings.vectors, embeddings.vectors), embeddings.images)
    for variant in (OpenSet.of(plain), MixedGallery.of(plain)):
        key = "open_set" if isinstance(variant, OpenSet) else "modality"
        one, other = (evaluate_beyond(source, variant).extra[key] for source in (embeddings, matrix))
        assert json.loads(json.dumps(one)) == json.loads(json.dumps(other))


def test_the_command_prints_both_and_the_report_still_shows_the_plain_lists(tmp_path, capsys):
    synthesise(
        tmp_path / "data", layout="sysu-mm01", identities=24, images=2, size=(32, 16), seed=1, workers=1
    )
    dataset = load_dataset("sysu-mm01", tmp_path / "data")
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3)
    card = {
        **method.card(),
        "preprocessing": {"size": [32, 16]},
        "dataset": {"name": "sysu-mm01", "fingerprint": dataset.fingerprint, "trial": None},
        "train_pids": list(dataset.pids("train")),
    }
    run = tmp_path / "run"
    run.mkdir()
    write_weights(run / "weights.safetensors", method.state_dict(), card)
    (run / "config.yaml").write_text(f"data:\n  root: {tmp_path / 'data'}\n")

    def call(*more):
        with pytest.raises(SystemExit) as left:
            main(["evaluate", str(run), "--device", "cpu", *more])
        assert left.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    out = call("--open-set", "--mixed", "--gallery-sizes")
    assert "Open-set, 50% of the people absent" in out and "Mixed gallery (draw 0)" in out
    assert (
        "detected and identified at rank 1" in out and "of first places show the query's own modality" in out
    )
    assert out.count("Rank-1 expected among so many wrong people") == 2
    call()
    names = [result.protocol for result in read_results(run / "results.json")]
    assert names == ["open-set", "mixed-gallery", "sysu-mm01"]
    assert read_marks(run / "features.npz").weights == ivreid.load(run, device="cpu").fingerprint
    page = ivreid.write_report(run).read_text()
    assert "Mixed gallery (draw 0)" in page and "the protocol cannot be run again" not in page


def test_a_features_file_is_scored_as_an_open_set_like_weights_are(tmp_path, capsys):
    embeddings, rule = crowd(people=24, images=3), make_protocol("cross-modality")
    write_features(tmp_path / "f.npz", embeddings)

    def call(*more):
        with pytest.raises(SystemExit) as left:
            main(["score", str(tmp_path / "f.npz"), "--protocol", "cross-modality", *more])
        assert left.value.code == 0
        return capsys.readouterr().out

    table = call("--open-set", "--json", str(tmp_path / "out.json"))
    expected = evaluate_beyond(embeddings, OpenSet.of(rule))
    (found,) = read_results(tmp_path / "out.json")
    assert found.protocol == "open-set" and found.mean == expected.mean
    rates = expected.extra["open_set"]["rates"]
    assert found.extra["open_set"]["rates"] == rates and len(rates) >= 2
    assert "open set: share of people in the gallery" in " ".join(table.split())
    lines = list(csv.DictReader(io.StringIO(call("--open-set", "--csv"))))
    assert len(lines) == 1 + len(rates) and not lines[0]["block"]
    for line, (fpir, ranks) in zip(lines[1:], rates.items(), strict=True):
        assert line["setting"].endswith(f"FPIR {fpir}") and line["mAP"] == ""
        assert float(line["Rank-5"]) == pytest.approx(100 * ranks["rank5"]["mean"], abs=5e-5)
        assert float(line["Rank-5 std"]) == pytest.approx(100 * ranks["rank5"]["std"], abs=5e-5)
    assert "open set" not in call() and "open set" not in call("--csv")


def test_a_damaged_block_of_an_open_set_shows_no_rows():
    result = evaluate_beyond(crowd(), OpenSet.of(make_protocol("cross-modality")))
    for block in (3, {}, {"rates": 3}, {"rates": {"0.1": 3}}, {"rates": {"0.1": {"rank1": {"mean": "x"}}}}):
        damaged = replace(result, extra={**result.extra, "open_set": block})
        assert len(results_grid([damaged]).blocks) == 1
