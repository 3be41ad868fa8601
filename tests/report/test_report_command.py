"""`ivreid report`: a run folder in, one page out, whatever the folder lacks."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from report_fixture import embeddings, result, samples, write_features, write_run

from ivreid import write_report
from ivreid.analysis.full_evaluation import analyse
from ivreid.datasets.features import read_features
from ivreid.errors import ConfigError, DataError, UsageError
from ivreid.models import write_weights
from ivreid.protocols import evaluate, make_protocol, write_results
from ivreid.types import Embeddings, ImageTable


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder with real results of its features, and its dataset."""
    run = write_run(tmp_path_factory.mktemp("made"), identities=24, images=2)
    both = read_features(run / "features.npz")
    found = []
    for mode, shots in (("all", 1), ("indoor", 1)):
        protocol = make_protocol("sysu-mm01", mode=mode, shots=shots)
        found.append(analyse(both, protocol, evaluate(both, protocol)))
    write_results(run / "results.json", found)
    return run


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run-a")


def page(run, **options):
    out = write_report(run, **options)
    assert out == run / "report.html"
    return out.read_text(encoding="utf-8")


def reasons(text):
    """What the page says is not shown, by itself or in the list at its end."""
    parts = re.findall(r'<p class="absent"><strong>Not shown: </strong>(.*?)</p>', text)
    return [re.sub("<.*?>", "", words) for words in parts + re.findall(r"<li><strong>(.*?)</li>", text)]


def test_a_whole_run_shows_everything(run):
    text = page(run)
    assert reasons(text) == []
    assert "<h1>run-a</h1>" in text
    assert "trained on folder, 20 epochs, seed 2019" in text
    assert text.count("<img ") >= 8 * 11
    for part in ("breakdown", "verification", "failures", "map"):
        assert f'<section id="{part}">' in text
    assert "Confidence intervals, 95%" in text
    for heading in (
        "Across and within the modalities",
        "Camera pairs",
        "Indoors and outdoors",
        "Hardest identities",
    ):
        assert heading in text


def test_the_ranked_lists_are_those_of_the_first_trial(run):
    """Every list's AP as shown, averaged over a sample of all queries, is the trial's own mAP."""
    from ivreid.report import choose_lists

    both = read_features(run / "features.npz")
    protocol = make_protocol("sysu-mm01")
    trial = protocol.trials(both.images)[0]
    query, gallery = both.take(trial.query), both.take(trial.gallery)
    lists = choose_lists(
        query, gallery, protocol.excluded(query.images, gallery.images), title="t", shown=len(query)
    )
    first = json.loads((run / "results.json").read_text())[0]["trials"][0]
    assert np.mean([q.average_precision for q in lists.sample]) == pytest.approx(first["mAP"], abs=1e-6)
    assert 1 - lists.missed / lists.queries == pytest.approx(first["rank1"], abs=1e-6)
    shown = set(re.findall(r"<br>AP ([\d.]+)%", page(run)))
    assert len(shown) >= 8
    assert shown <= {f"{100 * q.average_precision:.1f}" for q in lists.sample}


def test_stored_thresholds_are_drawn_into_the_distances(run):
    block = {"kind": "pairs", "threshold": {"estimate": 0.5}, "fpr": 0.01, "metric": "cosine"}
    card = {"method": "iv-reid", "settings": {}, "num_classes": 2, "calibrations": {"gate7": block}}
    write_weights(run / "weights.safetensors", {"a": torch.zeros(2)}, card)
    text = page(run)
    across, within = (re.sub("<.*?>", "", part) for part in text.split("Within a modality</h3>"))
    assert "gate7: 0.500" in across and "gate7" not in within.split("Verification")[0]
    from ivreid.report.geometry import pair_distances

    pairs, _ = pair_distances(read_features(run / "features.npz"))
    accepted = [100 * (side <= 0.5).mean() for side in (pairs.same, pairs.different)]
    told = f"accepts {accepted[0]:.1f}% of these same-person pairs and {accepted[1]:.2f}% of the others"
    assert told in across
    (run / "weights.safetensors").write_bytes(b"no weights at all")
    assert "gate7" not in page(run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.yaml", "no config.yaml"),
        ("environment.json", "no environment.json"),
        ("metrics.jsonl", "no metrics.jsonl"),
        ("results.json", "no results.json"),
        ("features.npz", "no features.npz"),
    ],
)
def test_a_missing_file_is_named_in_its_place(run, name, words):
    (run / name).unlink()
    assert any(words in reason for reason in reasons(page(run)))


def test_pictures_need_the_dataset_and_it_may_have_moved(run, tmp_path):
    (run / "config.yaml").write_text("data:\n  root: gone/away\n")
    away = page(run)
    assert any("gone/away is not on this machine; give it with --data" in r for r in reasons(away))
    assert "<img " not in away
    for sample in samples(24, 2):
        path = tmp_path / "moved" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    empty = page(run, data=tmp_path / "moved")
    assert any("the file is empty" in r for r in reasons(empty))


def test_a_path_out_of_the_dataset_is_not_opened(run, tmp_path):
    both = read_features(run / "features.npz")
    old = both.images
    paths = tuple(f"../../{path}" for path in old.paths)
    table = ImageTable(old.pids, old.camids, old.frames, old.infrared, paths)
    write_features(run / "features.npz", Embeddings(both.vectors, table))
    text = page(run)
    assert "<img " not in text
    assert any("leads out of the dataset folder" in r for r in reasons(text))


def test_features_that_do_not_fit_the_protocol_say_so(run):
    write_features(run / "features.npz", embeddings([s for s in samples(4, 1) if s.camid in (1, 2)]))
    text = page(run)
    assert any("the protocol cannot be run again" in r for r in reasons(text))


def test_only_marked_results_give_no_lists(run):
    (run / "results.json").write_text(json.dumps(result(rerank="k-reciprocal")))
    assert any("lists are drawn for plain ones" in r for r in reasons(page(run)))


def test_a_log_cut_by_a_kill_is_read_up_to_there(run):
    log = run / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert reasons(page(run)) == []
    log.write_text("")
    assert any("has not logged a step" in r for r in reasons(page(run)))
    log.write_text("{]\n{}\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        write_report(run)


def test_damaged_files_are_named(run):
    (run / "config.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        write_report(run)
    (run / "config.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="mapping"):
        write_report(run)
    (run / "config.yaml").unlink()
    (run / "results.json").write_text("[]")
    with pytest.raises(DataError, match=r"results\.json"):
        write_report(run)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_where_the_page_is(run, capsys):
    from ivreid.cli import main

    with pytest.raises(SystemExit) as end:
        main(["report", str(run)])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip().replace("\n", "") == str(run / "report.html")
