"""Tables of results: what is shared stands once, the best is sought among rows of one kind, three written forms."""

import csv
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import ivreid
from ivreid.analysis import FORMS, Grid, QueryTable, compare_runs, results_grid
from ivreid.analysis.full_evaluation import analyse
from ivreid.analysis.grid import Block, Cell
from ivreid.analysis.result_tables import split_title
from ivreid.cli.main import main
from ivreid.datasets.features import write_features
from ivreid.errors import UsageError
from ivreid.protocols import evaluate, every_setting, make_protocol, score, write_results
from ivreid.protocols.draws import draw_seeded
from ivreid.retrieval import get_reranker
from ivreid.types import Embeddings, ImageTable


def features(noise, people=12, frames=3, seed=0):
    """SYSU-MM01's cameras; the same people and noise directions whatever the noise's size."""
    rng = np.random.default_rng(seed)
    rows = [(p, c, f) for p in range(1, people + 1) for c in range(1, 7) for f in range(1, frames + 1)]
    pids, camids, numbers = np.array(rows).T
    base = rng.normal(size=(people + 1, 8))[pids]
    paths = tuple(f"cam{c}/{p:04d}/{f:04d}.jpg" for p, c, f in rows)
    table = ImageTable(pids, camids, numbers, np.isin(camids, (3, 6)), paths)
    return Embeddings((base + noise * rng.normal(size=base.shape)).astype(np.float32), table)


def result(noise, *, rerank=False, model=None, **options):
    both, protocol = features(noise), make_protocol("sysu-mm01", **options)
    reranker = get_reranker("k-reciprocal") if rerank else None
    kind = {"distance": reranker, "rerank": reranker.label} if reranker else {}
    prints = {"dataset": "d", "model": model or f"{noise}"}
    found = evaluate(both, protocol, fingerprints=prints, **kind)
    return analyse(both, protocol, found, distance=reranker)


@pytest.fixture(scope="module")
def three():
    return {"far": result(1.2), "near": result(0.6), "middle": result(0.9)}


def test_the_best_of_each_figure_and_what_is_clearly_behind(three):
    (table,) = compare_runs(list(three.values()), names=list(three))
    assert [block.heading for block in table.blocks] == [""]
    rows = {row.name: row for row in table.blocks[0].rows}
    for figure in ("rank1", "mAP", "mINP"):
        top = max(three, key=lambda name: three[name].mean[figure])
        assert [name for name, row in rows.items() if figure in row.best] == [top] == ["near"]
        pair = ivreid.compare_results(three["near"], three["far"]).settings[0]
        clear = {d.figure: d.clear for d in pair.differences}[figure]
        assert (figure in rows["far"].behind) == clear
    assert "mAP" in rows["far"].behind and not rows["near"].behind
    low, high = (getattr(rows["near"].intervals["mAP"], end) for end in ("low", "high"))
    assert low < three["near"].mean["mAP"] < high


def test_what_results_note_stands_below_a_table_once(three):
    near, far = (replace(three[name], notes=("of both", f"of {name}")) for name in ("near", "far"))
    (table,) = compare_runs([near, far], names=["near", "far"])
    assert [note for note in table.notes if "of " in note] == ["of both", "of near", "of far"]


def test_re_ranked_rows_have_a_rank_order_of_their_own(three):
    ranked = [result(0.6, rerank=True), result(1.2, rerank=True)]
    (table,) = compare_runs([[three["near"], ranked[0]], [three["far"], ranked[1]]], names=["a", "b"])
    assert table.blocks[0].heading == "" and table.blocks[1].heading.startswith("re-ranked by k-reciprocal")
    for block in table.blocks:
        assert [row.name for row in block.rows] == ["a", "b"]
        assert "mAP" in block.rows[0].best | block.rows[1].best
    assert "RE-RANKED" not in table.title
    alone = compare_runs([three["near"], ranked[0]])[0]
    assert [len(block.rows) for block in alone.blocks] == [1, 1]
    assert not any(row.best for block in alone.blocks for row in block.rows)


def test_other_images_are_never_called_worse(three):
    other = replace(three["far"], fingerprints={**three["far"].fingerprints, "split": "elsewhere"})
    (table,) = compare_runs([three["near"], other])
    assert not any(row.best or row.behind for row in table.blocks[0].rows)
    assert any("no best is marked" in note for note in table.notes)
    assert any("split fingerprints differ" in note for note in table.notes)


def test_each_setting_has_a_table_and_its_caption_names_it(three):
    tables = compare_runs([[three["near"], result(0.6, mode="indoor")], three["far"]])
    assert [table.title for table in tables] == [three["near"].title, result(0.6, mode="indoor").title]
    caption = " ".join(tables[0].grid().caption)
    assert (
        "all-search" in caption
        and "95% intervals over query identities" in caption
        and "10 trials" in caption
    )
    with pytest.raises(UsageError, match="two results files"):
        compare_runs([three["near"]])


def test_equal_figures_are_both_the_best(three):
    (table,) = compare_runs([three["near"], three["near"]], names=["a", "b"])
    assert [row.best for row in table.blocks[0].rows] == [frozenset(three["near"].mean)] * 2


HARD = r"50%_of #1 & $x {y} \ ^ ~ | <b> [l](u) *s* `c`"


@pytest.fixture
def hard():
    rows = ((Cell(HARD), Cell("1.50", "± 0.2", True, (("", "1.5"), ("std", "0.2")))),)
    return Grid((HARD,), ("run", "Rank-1"), (Block("", rows), Block(HARD, rows)), (HARD,))


def test_latex_escapes_and_sets_the_best_bold(hard):
    text = FORMS["latex"]([hard])
    assert r"\textbf{1.50} {\scriptsize $\pm$ 0.2}" in text
    body = text.split("\n", 1)[1]
    for letter in "%#_&$":
        tail = re.sub(r"\\textbf|\\scriptsize|\$\\pm\$|\$[<>|]\$| & \\", "", body)
        assert not re.search(rf"(?<!\\)\{letter}", tail.replace(" & ", " ")), letter
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    depth = 0
    for letter in re.sub(r"\\[{}]", "", text):
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert r"\multicolumn{2}{l}" in text and text.count(r"\midrule") == 2


def test_markdown_has_one_cell_a_column_and_no_markup_of_names(hard):
    lines = [line for line in FORMS["markdown"]([hard]).splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)
    assert "**1.50** ± 0.2" in lines[2] and r"\<b\>" in lines[2] and r"\*s\*" in lines[2]


def test_csv_reads_back(hard):
    rows = list(csv.DictReader(io.StringIO(FORMS["csv"]([hard]))))
    assert [row["run"] for row in rows] == [HARD] * 2 and [row["block"] for row in rows] == ["", HARD]
    assert (rows[0]["Rank-1"], rows[0]["Rank-1 std"]) == ("1.5", "0.2")


def test_what_rows_share_stands_once(three):
    grid = results_grid([result(0.6, mode=mode) for mode in ("all", "indoor")])
    labels = [row[0].text for row in grid.blocks[0].rows]
    assert [label.split(", ")[0] for label in labels] == ["all-search", "indoor-search"]
    caption = " ".join(grid.caption)
    for words in ("SYSU-MM01", "single-shot", "cosine distance", "10 trials"):
        assert words in caption and not any(words in label for label in labels)
    assert results_grid([three["near"]]).blocks[0].rows[0][0].text == "all"


def test_titles_are_divided_at_their_own_commas():
    assert split_title("A, b (c, d), e [f, g]") == ["A", "b (c, d)", "e [f, g]"]


@pytest.fixture
def npz(tmp_path):
    write_features(tmp_path / "f.npz", features(0.9))
    return tmp_path / "f.npz"


def call(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    return left.value.code or 0, captured.out, captured.err


def test_every_query_is_told_and_the_trial_s_figures_follow_from_it(npz, tmp_path, capsys):
    status, _, _ = call(
        capsys,
        "score",
        npz,
        "--protocol",
        "sysu-mm01",
        "--per-query",
        tmp_path / "q.csv",
        "--json",
        tmp_path / "r.json",
    )
    assert status == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "q.csv").read_text())))
    found = json.loads((tmp_path / "r.json").read_text())
    assert {row["setting"] for row in rows} == {found["title"]}
    by_path = dict(zip(features(0.9).images.paths, features(0.9).images.pids, strict=True))
    for number, trial in enumerate(found["trials"], start=1):
        own = [row for row in rows if row["trial"] == str(number) and row["average_precision"]]
        assert len(own) == found["valid_queries"]
        assert np.mean([float(row["average_precision"]) for row in own]) == pytest.approx(
            trial["mAP"], abs=1e-6
        )
        assert np.mean([row["first_match"] == "1" for row in own]) == pytest.approx(trial["rank1"], abs=1e-12)
    for row in rows:
        assert by_path[row["query"]] == int(row["pid"])
        assert (row["first_match"] == "1") == (row["met"] == "")
        if row["met"]:
            assert row["met_pid"] != row["pid"] and by_path[row["met"]] == int(row["met_pid"])
            assert not (row["camera"] == "3" and row["met_camera"] == "2")


def test_queries_of_ready_distances_are_told_as_well():
    both = features(0.9)
    protocol = make_protocol("sysu-mm01")
    plain, ready = QueryTable(), QueryTable()
    plain.add(both, protocol, "t", metric="cosine")
    from ivreid.metrics.distances import pairwise
    from ivreid.protocols.fixed_trial import DistanceMatrix

    matrix = DistanceMatrix.of(pairwise(both.vectors, both.vectors, allow_zero=True), both.images)
    ready.add(matrix, protocol, "t", metric="given")
    assert ready.lines == plain.lines and len(plain.lines) == 10 * 12 * 6


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_score_prints_every_setting_in_each_form(npz, capsys, form):
    status, out, _ = call(
        capsys, "score", npz, "--protocol", "sysu-mm01", "--all-settings", "--shots", 1, f"--{form}"
    )
    assert status == 0
    assert "all-search" in out and "indoor-search" in out and "\x1b" not in out
    mean = score(features(0.9).vectors, *_ids(), protocol="sysu-mm01").mean["rank1"]
    assert f"{100 * mean:.2f}" in out
    status, _, err = call(capsys, "score", npz, "--protocol", "sysu-mm01", "--csv", "--latex")
    assert status == 2 and "exclude each other" in err


def _ids():
    images = features(0.9).images
    return images.pids, images.camids


def test_a_row_fits_a_narrow_terminal(npz, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = call(capsys, "score", npz, "--protocol", "sysu-mm01", "--all-settings", "--shots", 1)
    lines = out.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if "Rank-1" in line) :]
    assert max(map(len, table[:6])) <= 80
    assert sum("SYSU-MM01" in line for line in lines if not line.startswith("note:")) == 1
    rows = [line for line in table if re.search(r"(all|indoor)-search", line)]
    assert len(rows) == 2 and all(len(re.findall(r"\d+\.\d\d", row)) == 6 for row in rows)


def test_settings_that_the_images_cannot_serve_are_told_and_left_out(npz, capsys):
    status, out, err = call(capsys, "score", npz, "--protocol", "sysu-mm01", "--all-settings")
    assert status == 0 and "all-search" in out and "indoor-search" in out and "multi-shot" not in out
    assert err.count("left out, these images cannot serve it: ") == 2 and "10 shots asked for, 3 image" in err
    assert call(capsys, "score", npz, "--protocol", "sysu-mm01", "--shots", 10, "--draw", "seeded")[0] == 2


def test_a_table_of_drawn_people_says_so(three):
    marked = three["near"].marked_synthetic()
    assert any("SYNTHETIC" in words for words in compare_runs([marked, three["far"]])[0].grid().caption)
    assert not any(
        "SYNTHETIC" in words for words in compare_runs([three["near"], three["far"]])[0].grid().caption
    )


def test_what_a_search_found_is_a_table_as_well():
    from ivreid.studies.tuning_result import TuningResult

    attempts = [SimpleNamespace(outcome=word) for word in ("complete", "complete", "pruned")]
    best = SimpleNamespace(
        score=0.4321, folder="0001", values={"optimizer.lr": 0.00123456, "schedule.name": "cosine"}
    )
    found = SimpleNamespace(
        best=best,
        attempts=attempts,
        metric="mAP",
        space=best.values,
        importance={"schedule.name": 0.7, "optimizer.lr": 0.1},
    )
    first, row = csv.DictReader(io.StringIO(FORMS["csv"]([TuningResult.grid(found)])))
    assert (first["setting"], first["best"], first["importance"]) == ("schedule.name", "cosine", "70%")
    assert (row["setting"], row["best"], row["importance"]) == ("optimizer.lr", "0.001235", "10%")
    assert "43.21%" in row["table"] and "2 complete, 1 pruned" in row["table"]


def test_compare_of_three_files_by_the_command(three, tmp_path, capsys):
    for name, one in three.items():
        (tmp_path / name).mkdir()
        write_results(tmp_path / name / "results.json", one)
    paths = [tmp_path / name for name in three]
    status, out, _ = call(capsys, "compare", *paths, "--latex", "--json", tmp_path / "t.json")
    assert status == 0
    assert re.search(rf"near & \\textbf{{{100 * three['near'].mean['rank1']:.2f}}}", out)
    (table,) = json.loads((tmp_path / "t.json").read_text())
    assert [row["name"] for row in table["blocks"][0]["rows"]] == list(three)
    status, out, _ = call(capsys, "compare", *paths)
    assert status == 0 and all(name in out for name in three) and "best is bold" in out
    status, out, _ = call(capsys, "compare", *paths[:2], "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {"Rank-1", "Rank-1 std", "Rank-1 low", "Rank-1 high"} <= rows[0].keys()
    assert call(capsys, "compare", paths[0])[0] == 2


def test_every_setting_of_each_protocol():
    assert every_setting("sysu-mm01", mode="indoor") == [
        {"mode": "indoor", "shots": 1},
        {"mode": "indoor", "shots": 10, "draw": "seeded"},
    ]
    assert every_setting("sysu-mm01", draw="agw") == [
        {"draw": "agw", "mode": mode, "shots": 1} for mode in ("all", "indoor")
    ]
    assert [s["direction"] for s in every_setting("llcm")] == ["infrared-to-visible", "visible-to-infrared"]
    with pytest.raises(UsageError, match="permutations"):
        every_setting("sysu-mm01", draw="official")


def test_the_seeded_draw_is_our_own_and_says_so():
    both = features(0.9, frames=12)
    single, many = (make_protocol("sysu-mm01", shots=shots, draw="seeded") for shots in (1, 10))
    for one, ten in zip(single.trials(both.images), many.trials(both.images), strict=True):
        assert set(one.gallery) <= set(ten.gallery)
        assert len(ten.gallery) == 10 * len(one.gallery) == 10 * 12 * 4
    galleries = {trial.gallery.tobytes() for trial in single.trials(both.images)}
    assert len(galleries) == 10
    found = evaluate(both, many)
    assert (
        "seeded draw of our own (not the official one)" in found.title and found.options["draw"] == "seeded"
    )
    assert any("with no published one" in note for note in found.notes)
    import hashlib

    names = [hashlib.sha256(f"0 1 1 {k}".encode()).hexdigest() for k in range(1, 5)]
    expected = [10 + i for i in np.argsort(names)[:2]]
    assert draw_seeded({(1, 1): np.arange(10, 14)}, 0, 2) == expected


def test_ten_shots_of_fewer_images_are_refused_by_the_seeded_draw():
    from ivreid.errors import ProtocolError

    with pytest.raises(ProtocolError, match="10 shots asked for, 3 image"):
        make_protocol("sysu-mm01", shots=10, draw="seeded").trials(features(0.9).images)
