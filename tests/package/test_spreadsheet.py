"""CSV for spreadsheets: what they would execute is text, what is a number stays one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivreid.analysis.grid import FORMS, Block, Cell, Grid
from ivreid.io import csv_text
from ivreid.io.spreadsheet import cell

FORMULAS = ["=1+1", "+A1", "-cmd|' /C calc'!A0", "@SUM(1,2)", "\t=1", "\r=1", "=", "@", "-2+3", "+1e5x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_execute_has_an_apostrophe_before_it(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", ["-0.25", "+1.20", "-1e-05", "-12.5%", "-", "+", "", "a=b", "'=1", -3, -0.5, None]
)
def test_numbers_and_plain_text_stay(value):
    assert cell(value) == value


@given(
    st.lists(st.lists(st.text(alphabet="=+-@\t\r\n,\"'a0.", max_size=6), min_size=2, max_size=2), max_size=4)
)
def test_every_row_reads_back_but_for_the_apostrophes(rows):
    back = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
    assert len(back) == len(rows)
    for row, read in zip(rows, back, strict=True):
        for text, found in zip(row, read, strict=True):
            assert found in (text, f"'{text}")
            assert not found.startswith(("=", "@", "\t", "\r"))


def test_tables_are_guarded_in_names_and_captions():
    grid = Grid(("=caption",), ("setting", "B - A"), (Block("@block", ((Cell("=run"), Cell("-0.25")),)),))
    (row,) = csv.DictReader(io.StringIO(FORMS["csv"]([grid])))
    assert row == {"table": "'=caption", "block": "'@block", "setting": "'=run", "B - A": "-0.25"}
