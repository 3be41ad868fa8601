"""No verb overwrites what it reads or a file of another kind, and a wrong target is told before the work."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ivreid.datasets.features import read_features, write_features
from ivreid.errors import TrainingError
from ivreid.io import outputs
from ivreid.training.run_lock import open_run_folder
from ivreid.types import Embeddings, ImageTable


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "people/7"
    folder.mkdir(parents=True)
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 256, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return tmp_path / "people"


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(p, c, f) for p in range(1, 9) for c in range(1, 7) for f in (1, 2)]
    pids, camids, frames = np.array(rows).T
    table = ImageTable(pids, camids, frames, np.isin(camids, (3, 6)))
    write_features(tmp_path / "f.npz", Embeddings(rng.normal(size=(len(rows), 4)), table))
    return tmp_path / "f.npz"


@pytest.fixture
def no_work(monkeypatch):
    def begin(*_, **__):
        raise AssertionError("the work began")

    for name in (
        *(
            "inference.samples.find_samples",
            "inference.samples.load",
            "evaluation.evaluate_model.embed_samples",
        ),
        *("analysis.evaluate_in_full", "analysis.compare_results", "evaluation.calibrate"),
        *(
            "methods.checkpoint_import.import_published",
            "synthetic.generate.synthesise",
            "training.train",
            "studies.tune",
        ),
    ):
        monkeypatch.setattr(f"ivreid.{name}", begin)


def contents(*paths):
    return {path: path.read_bytes() for path in paths}


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("holiday.txt", "x")
    return path


def refused(outcome, words):
    return outcome.status == 2 and words in outcome.err.replace("\n", " ")


@pytest.mark.usefixtures("no_work")
def test_embed_overwrites_nothing_else(ivreid, run, pictures, tmp_path):
    weights, picture = run / "weights.safetensors", pictures / "7/0.png"
    mine = archive(tmp_path / "mine.npz")
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, images=np.zeros(3))
    before = contents(weights, picture, mine, arrays)
    for out, words in (
        (weights, "features are written as .npz"),
        (picture, "features are written as .npz"),
        (tmp_path / "f.csv", "give " + str(tmp_path / "f.npz")),
        (mine, "holds something else than features and would be overwritten"),
        (arrays, "holds something else than features"),
        (tmp_path, "is a folder; name a file in it"),
        (picture / "f.npz", "Not a directory"),
    ):
        assert refused(ivreid("embed", run, pictures, "--modality", "visible", "--out", out), words)
    assert contents(*before) == before and not (tmp_path / "f.csv").exists()


@pytest.mark.usefixtures("no_work", "permissions_bind")
def test_embed_finds_a_closed_folder_before_the_work(ivreid, run, pictures, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    out = tmp_path / "closed/f.npz"
    assert refused(ivreid("embed", run, pictures, "--modality", "visible", "--out", out), "Permission denied")


def test_embed_finds_too_little_space_before_the_work(ivreid, run, pictures, tmp_path, monkeypatch):
    def begin(*_, **__):
        raise AssertionError("the work began")

    free = outputs.shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(outputs.shutil, "disk_usage", lambda _: free)
    words = ("embed", run, pictures, "--modality", "visible", "--device", "cpu", "--out", tmp_path / "f.npz")
    with monkeypatch.context() as patch:
        patch.setattr("ivreid.inference.samples.embed_samples", begin)
        assert refused(ivreid(*words), "MB are free there")
    monkeypatch.setattr(outputs.shutil, "disk_usage", lambda _: free._replace(free=10**9))
    for _ in range(2):  # its own features file it may replace
        assert ivreid(*words).status == 0
    assert len(read_features(tmp_path / "f.npz")) == 3


JSON_VERBS = {
    "score": ("score", "FEATURES", "--protocol", "sysu-mm01", "--json"),
    "evaluate": ("evaluate", "RUN", "--json"),
    "compare": ("compare", "RUN", "RUN", "--json"),
    "calibrate": ("calibrate", "RUN", "--json"),
}


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("verb", JSON_VERBS)
def test_json_goes_over_no_file_of_another_kind(ivreid, verb, run, features, tmp_path):
    (run / "results.json").write_text(json.dumps({"protocol": "x", "trials": []}))
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    (tmp_path / "notes.json").write_text("not JSON at all")
    (tmp_path / "list.json").write_text("[1, 2]")
    before = contents(*tmp_path.glob("*.json"), run / "environment.json", run / "results.json", features)
    words = [{"RUN": run, "FEATURES": features}.get(word, word) for word in JSON_VERBS[verb]]
    for out in ("package.json", "notes.json", "list.json", "run/environment.json"):
        assert refused(ivreid(*words, tmp_path / out), "would be overwritten: choose another name")
    for out in (run / "weights.safetensors", tmp_path / "out.txt"):
        assert refused(ivreid(*words, out), "are written as .json")
    said = "is read here, and would be overwritten" if verb == "score" else "are written as .json"
    assert refused(ivreid(*words, features), said)
    if verb != "score":  # which neither reads nor writes a run's results
        said = (
            "something else than calibrations"
            if verb == "calibrate"
            else "is read here, and would be overwritten"
        )
        assert refused(ivreid(*words, run / "results.json"), said)
    assert contents(*before) == before


def test_json_replaces_its_own_kind(ivreid, run, features, tmp_path):
    words = ("score", features, "--protocol", "sysu-mm01", "--json", tmp_path / "o.json")
    for _ in range(2):
        assert ivreid(*words).status == 0
    (tmp_path / "o.json").write_text("")  # an empty file holds nothing to lose
    assert ivreid(*words).status == 0
    assert (
        ivreid("compare", tmp_path / "o.json", tmp_path / "o.json", "--json", tmp_path / "c.json").status == 0
    )
    assert (
        ivreid("compare", tmp_path / "o.json", tmp_path / "o.json", "--json", tmp_path / "c.json").status == 0
    )
    assert refused(
        ivreid("compare", tmp_path / "o.json", tmp_path / "c.json", "--json", tmp_path / "o.json"),
        "is read here",
    )


@pytest.mark.usefixtures("no_work")
def test_import_synth_schema_and_tune_overwrite_nothing_else(ivreid, run, tiny_config, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, foreign)
    checkpoint = tmp_path / "model.pth"
    checkpoint.write_bytes(b"x")
    photo = tmp_path / "photo.png"
    photo.write_text("my photo, in words")
    best = tmp_path / "search/best.yaml"
    best.parent.mkdir()
    shutil.copy(tiny_config, best)
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    before = contents(foreign, checkpoint, photo, best, tmp_path / "package.json")
    for words, said in (
        (("import", checkpoint, "--out", foreign), "something else than weights"),
        (("import", checkpoint, "--out", checkpoint), "is the checkpoint itself"),
        (("import", checkpoint, "--out", tmp_path / "w.pt"), "are written as .safetensors"),
        (("synth", tmp_path / "s", "--contact-sheet", photo), "something else than overview pictures"),
        (
            ("synth", tmp_path / "s", "--contact-sheet", tmp_path / "s/cam1/0001/0001.png"),
            "among the dataset's pictures",
        ),
        (("config", "schema", "--out", tmp_path / "package.json"), "something else than JSON schemas"),
        (("tune", best, "--out", best.parent), "is read here, and would be overwritten"),
    ):
        assert refused(ivreid(*words), said), words
    assert contents(*before) == before and not (tmp_path / "s").exists()


def test_a_run_begins_in_no_folder_with_files_that_no_run_wrote(ivreid, tiny_config, tmp_path):
    """`--out .` in the folder of something else, or of the configuration itself."""
    mine = tmp_path / "project"
    for name in ("config.yaml", "environment.json", "metrics.jsonl"):
        shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir()
        shutil.copy(tiny_config, mine / name)
        outcome = ivreid("train", mine / name if name == "config.yaml" else tiny_config, "--out", mine)
        assert refused(outcome, f"{mine / name} is there and no run wrote it; it would be overwritten")
        assert [file.name for file in mine.iterdir()] == [name]
        assert (mine / name).read_bytes() == tiny_config.read_bytes()


def test_a_start_that_failed_leaves_a_folder_that_may_be_used(tmp_path):
    with open_run_folder(tmp_path / "run", resume=False) as folder:
        folder.config.write_text("epochs: 1")
    with open_run_folder(tmp_path / "run", resume=False):
        pass
    (tmp_path / "run/.lock").unlink()
    with (
        pytest.raises(TrainingError, match="no run wrote it"),
        open_run_folder(tmp_path / "run", resume=False),
    ):
        pass
