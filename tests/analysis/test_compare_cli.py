import json
from dataclasses import replace

import numpy as np
import pytest

import ivreid
from ivreid.analysis.full_evaluation import analyse
from ivreid.cli.main import main
from ivreid.protocols import evaluate, make_protocol, write_results
from ivreid.types import Embeddings, ImageTable


def regdb(noise):
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(30), 10)
    infrared = np.tile(np.repeat([False, True], 5), 30)
    frames = np.tile(np.arange(1, 6), 60)
    base = rng.normal(size=(30, 8))[pids]
    return Embeddings(
        base + noise * rng.normal(size=base.shape), ImageTable(pids, 1 + infrared, frames, infrared)
    )


def result(noise, direction="infrared-to-visible"):
    embeddings, protocol = regdb(noise), make_protocol("regdb", trial=1, direction=direction)
    found = evaluate(embeddings, protocol, fingerprints={"dataset": "d", "model": str(noise)})
    return analyse(embeddings, protocol, found)


@pytest.fixture
def files(tmp_path):
    write_results(tmp_path / "a.json", result(1.0))
    write_results(tmp_path / "b.json", result(0.7))
    return tmp_path


def call(*arguments):
    main([str(argument) for argument in arguments])


def test_the_table_shows_difference_and_interval(files, capsys):
    with pytest.raises(SystemExit) as left:
        call("compare", files / "a.json", files / "b.json", "--json", files / "out.json")
    assert left.value.code == 0
    out = capsys.readouterr()
    assert "warning" not in out.err
    assert "Rank-1" in out.out and "resampled together" in out.out and "*" in out.out
    written = json.loads((files / "out.json").read_text())
    row = written["differences"]["mAP"]
    assert written["pairing"] == "identities" and row["interval"]["low"] > 0
    assert f"{100 * row['difference']:+.2f}" in out.out


def test_warnings_and_run_folders_of_many_settings(files, capsys):
    for name, noise in (("a", 1.0), ("b", 0.7)):
        (files / name).mkdir()
        both = [result(noise), result(noise, "visible-to-infrared")]
        write_results(files / name / "results.json", both if name == "a" else both[::-1])
    with pytest.raises(SystemExit) as left:
        call("compare", files / "a", files / "b")
    out = capsys.readouterr()
    assert left.value.code == 0 and "warning" not in out.err and out.out.count("Rank-20") == 2
    write_results(files / "c.json", result(0.7, "visible-to-infrared"))
    with pytest.raises(SystemExit):
        call("compare", files / "a.json", files / "c.json")
    assert "option direction differs" in capsys.readouterr().err


def test_python_users_compare_files_folders_and_results(files):
    folder = files / "run"
    folder.mkdir()
    write_results(folder / "results.json", result(0.7))
    of_files = ivreid.compare_results(files / "a.json", str(folder), seed=4)
    assert of_files == ivreid.compare_results(result(1.0), [result(0.7)], seed=4)
    assert len(of_files.settings) == 1 and of_files.unmatched == ()
    assert of_files.to_json()["differences"].keys() == result(1.0).mean.keys()
    several = ivreid.compare_results([result(1.0), result(1.0, "visible-to-infrared")], result(0.7))
    assert len(several.settings) == 1 and "only the first file holds" in several.unmatched[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.json", "none.json"), "none.json"),
        (("a.json", "broken.json"), "not valid JSON"),
        (("a.json", "b.json", "--confidence", "95"), "between 0 and 1"),
    ],
)
def test_bad_input_is_one_message(files, capsys, arguments, message):
    (files / "broken.json").write_text("{")
    with pytest.raises(SystemExit) as left:
        call("compare", files / arguments[0], files / arguments[1], *arguments[2:])
    err = capsys.readouterr().err
    assert left.value.code == 2 and message in err and "Traceback" not in err


def test_a_note_of_several_settings_is_told_once_and_an_empty_column_is_left_out(tmp_path, capsys):
    for name in ("a", "b"):
        found = [result(1.0), result(1.0, "visible-to-infrared")]
        alike = [replace(one, notes=("unfinished training",)) for one in found]
        write_results(
            tmp_path / f"{name}.json", [replace(alike[0], notes=(*alike[0].notes, "one only")), alike[1]]
        )
    with pytest.raises(SystemExit):
        call("compare", tmp_path / "a.json", tmp_path / "b.json")
    shown = capsys.readouterr()
    warnings = [line for line in shown.err.splitlines() if line.startswith("warning:")]
    assert sorted(warnings) == sorted(set(warnings)) and len(warnings) == 3
    for note in ("unfinished training", "one only"):
        assert f"warning: each result notes: {note}" in warnings
    heads = [line for line in shown.out.splitlines() if "B - A" in line]
    assert len(heads) == 2 and all(line.rstrip(" ┃").endswith("95% interval") for line in heads)
    assert all(line.count("┃") == 6 for line in heads)
