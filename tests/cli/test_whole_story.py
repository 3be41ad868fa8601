"""The verbs one after another, on real files: what a newcomer types."""

import json
import re

import numpy as np
import pytest

from ivreid.cli.main import VERBS

pytestmark = pytest.mark.slow
KEYS = {"protocol", "options", "queries", "valid_queries", "gallery", "trials", "mean", "std"}
FIGURES = {"rank1", "rank5", "rank10", "rank20", "mAP", "mINP"}


def check_result(result, trials):
    assert result.keys() >= KEYS
    assert len(result["trials"]) == trials
    for trial in result["trials"]:
        assert trial.keys() == FIGURES | {"cmc"}
        assert all(0 <= trial[name] <= 1 for name in FIGURES)
        assert trial["cmc"] == sorted(trial["cmc"])
    for name in FIGURES:
        values = [trial[name] for trial in result["trials"]]
        assert result["mean"][name] == pytest.approx(np.mean(values))
        assert result["std"][name] == pytest.approx(np.std(values))


def test_evaluate_writes_the_contract(ivreid, tiny_run, tmp_path):
    done = ivreid(
        "evaluate",
        tiny_run,
        "--mode",
        "indoor",
        "--draw",
        "official",
        "--json",
        tmp_path / "r.json",
    )
    assert done.status == 0, done.err
    result = json.loads((tmp_path / "r.json").read_text())
    check_result(result, trials=10)
    assert result["protocol"] == "sysu-mm01"
    assert result["options"] | {"mode": "indoor", "shots": 1, "draw": "official"} == result["options"]
    assert "Rank-1" in done.out and "mINP" in done.out


def test_scoring_the_run_s_features_gives_the_same_figures(ivreid, tiny_run, tiny_data, tmp_path):
    assert ivreid("evaluate", tiny_run, "--draw", "agw", "--json", tmp_path / "a.json").status == 0
    features = tiny_run / "features.npz"
    done = ivreid(
        "score", features, "--protocol", "sysu-mm01", "--draw", "agw", "--json", tmp_path / "b.json"
    )
    assert done.status == 0, done.err
    ours, theirs = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert ours["mean"] == pytest.approx(theirs["mean"], abs=1e-9)
    stored = np.load(features, allow_pickle=False)
    assert stored["embeddings"].dtype == np.float32
    assert {"pids", "camids", "frames"} <= set(stored.files)


def test_evaluate_in_every_setting_as_a_table_with_every_query(ivreid, tiny_run, tmp_path):
    out = tmp_path / "q.csv"
    done = ivreid("evaluate", tiny_run, "--all-settings", "--markdown", "--per-query", out)
    assert done.status == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 and "indoor-search" in rows[3]  # ten shots of four images cannot be had
    assert "10 shots" in done.err
    lines = out.read_text().splitlines()
    assert lines[0].startswith("setting,trial,query,") and (len(lines) - 1) % 20 == 0


def test_embed_then_search_in_python(ivreid, tiny_run, tiny_data, tmp_path):
    done = ivreid(
        "embed", tiny_run, tiny_data / "cam3", "--modality", "infrared", "--out", tmp_path / "f.npz"
    )
    assert done.status == 0, done.err
    stored = np.load(tmp_path / "f.npz", allow_pickle=False)
    assert len(stored["embeddings"]) == len(list((tiny_data / "cam3").rglob("*.jpg")))
    assert np.allclose(np.linalg.norm(stored["embeddings"], axis=1), 1, atol=1e-5)


def test_report_is_one_file_that_opens_offline(ivreid, tiny_run):
    assert ivreid("evaluate", tiny_run, "--draw", "agw").status == 0
    done = ivreid("report", tiny_run)
    assert done.status == 0, done.err
    page = (tiny_run / "report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "data:image/" in page


def test_a_second_training_does_not_touch_the_first(ivreid, tiny_run, tiny_config):
    before = (tiny_run / "weights.safetensors").read_bytes()
    done = ivreid("train", tiny_config, "--out", tiny_run)
    assert done.status == 2
    assert "--resume" in done.err
    assert (tiny_run / "weights.safetensors").read_bytes() == before


def test_a_finished_run_resumes_to_itself(ivreid, tiny_run, tiny_config):
    before = (tiny_run / "weights.safetensors").read_bytes()
    assert ivreid("train", tiny_config, "--out", tiny_run, "--resume").status == 0
    assert (tiny_run / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "CONFIG", "--set", "epoch=3"], "did you mean epochs"),
        (["train", "CONFIG", "--set", "epochs=many"], "epochs"),
        (["train", "CONFIG", "--data", "nowhere"], "nowhere"),
        (["train", "missing.yaml"], "missing.yaml"),
        (["train", "CONFIG", "--set", "batch.identities=64"], "64"),
        (["train", "CONFIG", "--set", "method.backbone=resnet51"], "resnet50|resnet5"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "RUN", "--direction", "sideways"], "direction"),
        (["evaluate", "RUN", "--draw", "agw", "--shots", 10], "agw"),
        (["evaluate", "RUN", "--trial", 2], "trial"),
        (["embed", "RUN", "nowhere", "--modality", "infrared", "--out", "x.npz"], "nowhere"),
        (["embed", "RUN", "DATA", "--modality", "sonar", "--out", "x.npz"], "sonar"),
        (["score", "nowhere.npz", "--protocol", "sysu-mm01"], "nowhere"),
        (["import", "CONFIG", "--from", "iv-reid", "--out", "x.safetensors"], "tiny.yaml"),
        (["report", "nowhere"], "nowhere"),
        (["data", "check", "sysu-mm01", "nowhere"], "nowhere"),
        (["data", "check", "sysu-mm02", "DATA"], "sysu-mm01"),
        (["synth", "DATA", "--layout", "regdb", "--identities", 4], "."),
        (["synth", "new", "--layout", "regdbb", "--identities", 4], "regdb"),
    ],
    ids=lambda value: " ".join(map(str, value[:5])) if isinstance(value, list) else None,
)
def test_wrong_input_is_one_clear_message(
    ivreid, tiny_run, tiny_config, tiny_data, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {"CONFIG": tiny_config, "RUN": tiny_run, "DATA": tiny_data}
    filled = [names.get(word, word) for word in words]
    if words[0] == "train":
        filled += ["--out", tmp_path / "new-run"]
    done = ivreid(*filled)
    assert done.status == 2, done
    assert re.search(message, done.err), done.err
    assert "Traceback" not in done.err
    assert len(done.err) < 3000


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_teaches(ivreid, verb):
    done = ivreid(verb, "--help")
    assert done.status == 0
    assert len(done.out) > 400 or verb in ("data", "doctor")


def test_no_such_verb_suggests_one(ivreid):
    done = ivreid("trian")
    assert done.status == 2
    assert "train" in done.err
