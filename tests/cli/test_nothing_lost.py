"""What a command has worked out is seen, whatever happens to its files; what cannot be written is told first."""

import errno
import os
import shutil

import numpy as np
import pytest

from ivreid.datasets.features import write_features
from ivreid.errors import DataError
from ivreid.evaluation import saved_results
from ivreid.io import files
from ivreid.types import Embeddings, ImageTable


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(p, c, f) for p in range(1, 9) for c in range(1, 7) for f in (1, 2)]
    pids, camids, frames = np.array(rows).T
    table = ImageTable(pids, camids, frames, np.isin(camids, (3, 6)))
    write_features(tmp_path / "f.npz", Embeddings(rng.normal(size=(len(rows), 4)), table))
    return tmp_path / "f.npz"


@pytest.fixture
def disk_fills_up(monkeypatch):
    """From the first whole file on nothing more can be written; looking for space before still finds some."""

    def refuse(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_sync", refuse)


@pytest.fixture
def no_work(monkeypatch):
    """Embedding and scoring must not begin."""

    def begin(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr("ivreid.evaluation.evaluate_model.embed_samples", begin)
    monkeypatch.setattr("ivreid.evaluation.stored_calibration.embed_samples", begin)
    monkeypatch.setattr("ivreid.analysis.score_features", begin)
    monkeypatch.setattr("ivreid.report.write.make_page", begin)
    monkeypatch.setattr("ivreid.methods.checkpoint_import.import_published", begin)


def test_score_shows_its_table_though_the_json_file_fails(ivreid, features, tmp_path, disk_fills_up):
    outcome = ivreid("score", features, "--protocol", "sysu-mm01", "--json", tmp_path / "o.json")
    assert outcome.status == 2
    assert "Rank-1" in outcome.out and "all-search" in outcome.out
    assert f"cannot write {tmp_path / 'o.json'}: No space left on device" in outcome.err


def test_evaluate_shows_its_table_though_nothing_can_be_kept(ivreid, tiny_run, tmp_path, disk_fills_up):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("results.json", "features.npz"))
    outcome = ivreid("evaluate", run, "--device", "cpu")
    assert outcome.status == 2
    assert "Rank-1" in outcome.out and "all-search" in outcome.out
    assert "results.json: No space left on device" in outcome.err
    assert "features.npz: No space left on device" in outcome.err
    assert not (run / "results.json").exists()


@pytest.mark.parametrize("lost", ["features", "results"])
def test_one_file_that_fails_does_not_take_the_other_with_it(ivreid, tiny_run, tmp_path, monkeypatch, lost):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("results.json", "features.npz"))

    def refuse(path, _, **marks):
        raise DataError(f"cannot write {path}")

    monkeypatch.setattr(saved_results, f"write_{lost}", refuse)
    assert ivreid("evaluate", run, "--device", "cpu").status == 2
    assert (run / "results.json").exists() == (lost == "features")
    assert (run / "features.npz").exists() == (lost == "results")


@pytest.mark.usefixtures("no_work", "permissions_bind")
def test_a_closed_run_folder_is_told_before_the_work_with_the_way_out(ivreid, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    run.chmod(0o500)
    outcome = ivreid("evaluate", run)
    assert outcome.status == 2
    assert "Permission denied" in outcome.err
    assert f"evaluate its weights: {run / 'weights.safetensors'}" in outcome.err
    for verb in ("calibrate", "report"):
        outcome = ivreid(verb, run)
        assert (outcome.status, "Permission denied" in outcome.err) == (2, True)


@pytest.mark.usefixtures("no_work")
def test_damaged_results_are_told_before_the_work(ivreid, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "results.json").write_text("{")
    outcome = ivreid("evaluate", run)
    assert outcome.status == 2
    assert "results.json is not valid JSON" in outcome.err


@pytest.mark.usefixtures("no_work")
def test_a_json_file_that_cannot_be_written_is_told_before_the_work(ivreid, features, tiny_run, tmp_path):
    for words in (
        ("score", features, "--protocol", "sysu-mm01"),
        ("evaluate", tiny_run),
        ("calibrate", tiny_run),
    ):
        outcome = ivreid(*words, "--json", tmp_path)
        assert outcome.status == 2
        assert "is a folder; name a file in it" in outcome.err
    outcome = ivreid("score", features, "--protocol", "sysu-mm01", "--json", features)
    assert outcome.status == 2
    assert "is read here, and would be overwritten" in outcome.err
    (tmp_path / "model.pth").write_bytes(b"x")
    (tmp_path / "w.safetensors").mkdir()
    outcome = ivreid("import", tmp_path / "model.pth", "--out", tmp_path / "w.safetensors")
    assert outcome.status == 2
    assert "is a folder" in outcome.err
    outcome = ivreid("synth", tmp_path / "people", "--contact-sheet", tmp_path)
    assert outcome.status == 2
    assert not (tmp_path / "people").exists()


def test_a_threshold_that_cannot_be_stored_is_told(ivreid, tiny_run, tmp_path, disk_fills_up):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    outcome = ivreid("calibrate", run, "--fpr", "0.2", "--device", "cpu")
    assert outcome.status == 2
    assert "No space left on device" in outcome.err
    assert "Not stored is what was found: cosine distance 0." in outcome.err


def test_figures_can_go_to_standard_output(ivreid, features, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ivreid("score", features, "--protocol", "sysu-mm01", "--json", pipe).status == 0
        assert os.read(reader, 20).startswith(b"{")
    finally:
        os.close(reader)
    assert pipe.is_fifo()
