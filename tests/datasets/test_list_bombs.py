"""Tables and lists that no program wrote: one problem, in little memory and time."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.datasets import check_dataset, load_dataset
from ivreid.datasets.problems import Kind
from ivreid.datasets.tree import MAX_LIST_BYTES
from ivreid.errors import DataError

ROW = "a/b.png,1,visible"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,pid,modality," + ",".join(f"c{i}" for i in range(5_000)),
            "the first line names 5,003 columns",
        ),
        (",".join("pid" for _ in range(10_000)), "the first line names 10,000 columns"),
        (",".join(f"c{i}" for i in range(100_000)), "letters long"),
        ("path,pid,modality\n" + "," * 100_000 + "x", "the line is 100,001 letters long"),
        ("path,pid,modality\n" + '"' + "x" * 100_000, "the line is 100,001 letters long"),
        ("path,pid,modality\n" + '"' + "x\n" * 100_000, "field larger than field limit"),
        ("path,pid,modality\n" + f"{ROW},\0\n", "values for 3 columns"),
        ("path,pid,modality\na/\0/b.png,1,visible\n", "people.csv:2"),
        ("path,pid,modality\n" + "a/" * 2000 + "b.png,1,visible\n", "unusable"),
        ("path,pid,modality\n" + "x" * 300 + "/b.png,1,visible\n", "unusable"),
    ],
)
def test_tables_without_end(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        load_dataset("csv", tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 3000
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))


def test_a_table_of_nothing_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivreid.datasets.problems.MAX_KEPT", 50)
    lines = "".join(f"{i}/x.png,1,visible\n" for i in range(5_000))
    (tmp_path / "people.csv").write_text("path,pid,modality\n" + lines)
    report = check_dataset("csv", tmp_path)
    (told,) = (p for p in report.problems if p.kind == Kind.MALFORMED)
    assert (told.path, told.message[:31]) == ("people.csv:53", "the table is not read further: ")


def test_a_list_that_is_too_large_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "cam1").mkdir()
    for name in ("train", "val", "test", "available"):
        (tmp_path / "exp" / f"{name}_id.txt").write_text("1,2\n")
    with (tmp_path / "exp" / "train_id.txt").open("wb") as file:
        file.truncate(2 << 20)
    report = check_dataset("sysu-mm01", tmp_path)
    assert any("2,097,152 bytes is too large for a list" in problem.message for problem in report.problems)
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(MAX_LIST_BYTES + 1)
    with pytest.raises(DataError, match="too large for a list"):
        load_dataset("csv", tmp_path / "t.csv")
