"""Several runs on one page: the best bold, curves over each other, queries that one wins and the other loses."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from report_fixture import embeddings, metrics, samples, write_features, write_run
from test_report_page import HOSTILE, Page

from ivreid import write_comparison, write_report
from ivreid.analysis.full_evaluation import analyse
from ivreid.cli import main
from ivreid.datasets.features import read_features
from ivreid.errors import DataError, UsageError
from ivreid.metrics import rank_queries
from ivreid.metrics.distances import pairwise
from ivreid.protocols import evaluate, make_protocol, read_results, write_results


def write_results_of(run, noise, seed):
    write_features(run / "features.npz", embeddings(samples(12, 2), seed=seed, noise=noise))
    both, protocol = read_features(run / "features.npz"), make_protocol("sysu-mm01")
    found = analyse(both, protocol, evaluate(both, protocol, fingerprints={"model": f"{seed}"}))
    write_results(run / "results.json", found)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    first = write_run(folder / "x", identities=12, images=2)
    first.rename(folder / "near")
    shutil.copytree(folder / "near", folder / "far")
    write_results_of(folder / "near", 1.6, 3)
    write_results_of(folder / "far", 2.0, 4)
    return folder


def first_right(run):
    both, protocol = read_features(run / "features.npz"), make_protocol("sysu-mm01")
    trial = protocol.trials(both.images)[0]
    query, gallery = both.take(trial.query), both.take(trial.gallery)
    excluded = protocol.excluded(query.images, gallery.images)
    outcomes = rank_queries(
        pairwise(query.vectors, gallery.vectors), query.images.pids, gallery.images.pids, excluded
    )
    return outcomes.first_image == 1, query.images


def test_the_page_counts_and_shows_what_each_wins(made, tmp_path):
    out = write_comparison([made / "near", made / "far"], tmp_path / "c.html")
    text = out.read_text()
    page = Page(text)
    (near, images), (far, _) = (first_right(made / name) for name in ("near", "far"))
    counts = [int(side.sum()) for side in (near & far, near & ~far, ~near & far, ~near & ~far)]
    assert min(counts[1:3]) > 0
    told = re.findall(r"<th scope=\"row\">(?:both|only near|only far|neither)</th><td[^>]*>([\d,]+)<", text)
    assert [int(count) for count in told] == counts
    alts = [attrs["alt"] for attrs in page.all("img")]
    shown = {int(re.search(r"identity (\d+)", alt)[1]) for alt in alts if alt.startswith("Query")}
    assert shown <= set(images.pids[near != far].tolist())
    people = [len(np.unique(images.pids[side])) for side in (near & ~far, ~near & far)]
    assert sum(alt.startswith("Query") for alt in alts) == sum(min(8, count) for count in people)
    assert all(re.match(r"Query|(near|far), (right|wrong)", alt) for alt in alts)
    best = json.loads((made / "near" / "results.json").read_text())["mean"]["mAP"]
    assert f"<strong>{100 * best:.2f}</strong>" in text
    assert len(out.read_bytes()) < 3_000_000 and page.words.count("Validation Rank-1") == 2


def test_every_run_has_its_curve_and_its_sentence(made, tmp_path):
    words = Page(write_comparison([made / "near", made / "far"], tmp_path / "c.html").read_text()).words
    assert re.search(r"near \([\d.]+% at the end\)far \([\d.]+% at the end\)", words)
    assert words.count("Evaluated with ivreid 0.1.0") == 2


def test_a_study_shows_the_curve_of_every_seed(made, tmp_path):
    study = tmp_path / "study"
    for seed in range(3):
        (study / f"seed-{seed}").mkdir(parents=True)
        lines = (json.dumps(row) for row in metrics(200, 40, seed=seed))
        (study / f"seed-{seed}" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    shutil.copy(made / "near" / "results.json", study)
    words = Page(write_report(study).read_text()).words
    assert re.search("seed-0 .*at the end.*seed-1 .*at the end.*seed-2 .*at the end", words)
    assert "Training: " not in words and "Validation Rank-1 of every run" in words
    both = Page(write_comparison([study, made / "far"], tmp_path / "c.html").read_text()).words
    assert all(f"study/seed-{seed} (" in both for seed in range(3)) and "far (" in both
    assert "study: the run folder has no features.npz" in both


def test_runs_on_other_images_have_no_winner(made, tmp_path):
    other = shutil.copytree(made / "far", tmp_path / "other")
    rows = samples(11, 2)
    write_features(other / "features.npz", embeddings(rows))
    words = Page(write_comparison([made / "near", other], tmp_path / "c.html").read_text()).words
    assert "they were tested on different images" in words


def test_names_of_runs_are_no_markup(made, tmp_path):
    out = write_comparison([made / "near", made / "far"], tmp_path / "c.html", names=[HOSTILE, "b"])
    page = Page(out.read_text())
    assert all(attrs["src"].startswith("data:image/jpeg") for attrs in page.all("img"))
    assert len(page.all("script")) == 2 and page.words.count(HOSTILE) > 5


def test_wrong_calls_are_one_message(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="two run folders"):
        write_comparison([made / "near"])
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(UsageError, match="evaluate it first"):
        write_comparison([made / "near", bare])
    (tmp_path / "mine.html").write_text("my page")
    with pytest.raises(UsageError, match="holds something else than pages"):
        write_comparison([made / "near", made / "far"], tmp_path / "mine.html")
    (bare / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"results\.json"):
        write_comparison([made / "near", bare])
    for words, told in (
        ([made / "near", made / "far"], "comparison.html"),
        ([made / "near", made / "far", "--full"], "--full is for the page of one run"),
        ([made / "near", "--out", "x.html"], "--out is for a page of several runs"),
    ):
        with pytest.raises(SystemExit):
            main(["report", *map(str, words)])
        captured = capsys.readouterr()
        assert told in captured.out + captured.err
    assert (tmp_path / "comparison.html").is_file() and not (tmp_path / "x.html").exists()


def test_the_sentence_for_the_paper_is_of_no_re_ranked_result_where_there_is_another(made, tmp_path):
    shutil.copytree(made, tmp_path / "runs")
    for name in ("near", "far"):
        file = tmp_path / "runs" / name / "results.json"
        (plain,) = read_results(file)
        mirrored = replace(plain, tta="flip", title="mirrored")
        ranked = replace(plain, rerank="aim", tta="flip", title="re-ranked and mirrored")
        write_results(file, [ranked, mirrored])
    page = write_comparison([tmp_path / "runs" / name for name in ("near", "far")], tmp_path / "page.html")
    text = page.read_text()
    assert text.count("Protocol: mirrored") == 2 and "Protocol: re-ranked" not in text
