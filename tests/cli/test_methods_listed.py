"""`ivreid methods`: every figure under the protocol it was published for, and what was verified on every page."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest

from ivreid.cli.methods_text import cells
from ivreid.methods import METHODS, register_method
from ivreid.methods.describe import Cost
from ivreid.methods.iv_reid import IVReID
from ivreid.methods.publication import Publication, PublishedFigures


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is built for its cost."""
    cost = Cost((288, 144), 2048, 23_500_000, 5.1, 64)
    monkeypatch.setattr("ivreid.methods.describe.measure_cost", lambda name, dataset="sysu-mm01": cost)


def rows(text: str) -> dict[str, list[str]]:
    """The cells behind each method's name; a cell of several lines is one text."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("│"):
            continue
        name, *cells = (cell.strip() for cell in line.strip("│").split("│"))
        if name:
            found[name] = cells
        else:
            last = next(reversed(found))
            found[last] = [f"{one} {more}".strip() for one, more in zip(found[last], cells, strict=True)]
    return found


def figures(text: str, name: str) -> list[str]:
    """Of a method the cells of SYSU-MM01, RegDB, LLCM, and with other test images."""
    return rows(text)[name][5:9]


def digits(value: float) -> str:
    """All that was published of a figure."""
    return repr(value).removesuffix(".0")


class Unpublished(IVReID):
    """A plugin's method: its file names no publication."""

    name = "unpublished"
    publication = None
    importer = None


class Elsewhere(IVReID):
    """A plugin's method with figures of other settings."""

    name = "elsewhere"
    importer = None
    publication: ClassVar = Publication(
        "A Title",
        "Ann Smith",
        "CVPR",
        2023,
        licence="Apache-2.0",
        figures=(
            PublishedFigures("sysu-mm01", "indoor-search, single-shot", 50.25, 40.5),
            PublishedFigures("regdb", "infrared-to-visible", 90.0, 80.0),
            PublishedFigures("regdb", "visible-to-infrared", 1.25, 2.5, kind="re-ranked"),
            PublishedFigures("regdb", "visible-to-infrared", 91.0, 81.0),
            PublishedFigures("regdb", "visible-to-infrared", 92.0, 82.0),
            PublishedFigures("llcm", "visible-to-infrared", 60.0, 61.0, split=2),
            PublishedFigures("night", "all-search", 3.0, 4.0, kind="transductive"),
        ),
    )


def test_each_figure_stands_under_its_protocol_or_says_another(ivreid) -> None:
    text = ivreid("methods").out
    assert figures(text, "iv-reid") == ["46.3/44.2", "46.8/43.7 (I>V)", "-", "-"]
    assert figures(text, "agw") == ["47.5/47.65", "70.05/66.37", "43.6/51.8", "-"]
    assert figures(text, "mpanet") == ["70.58/68.24", "83.7/80.9 (split 1)", "-", "-"]
    assert figures(text, "dns") == ["77.27/74.35", "93.01/88.56", "57.45/64.11", "-"]
    assert figures(text, "mcja") == ["-", "-", "-", "SYSU 89.51/87.58 (transductive)"]
    assert figures(text, "idkl") == ["-", "94.72/90.19", "-", "SYSU 81.42/79.85 (transductive)"]
    assert figures(text, "saai") == [
        *("-", "-", "-"),
        "SYSU 75.9/77.03 (transductive) RegDB 91.07/91.45 (transductive, split 4)",
    ]
    title = " ".join(" ".join(line.split("┃")) for line in text.splitlines() if line.startswith("┃"))
    for word in ("all-search,", "single-shot", "visible", "infrared"):
        assert word in title.split()
    below = " ".join(text.split())
    assert "V>I, I>V: query > gallery" in below and "split N: of that split alone" in below


def test_other_settings_and_datasets_of_a_plugin_are_named(ivreid, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    register_method(Elsewhere)
    text = ivreid("methods").out
    assert figures(text, "elsewhere") == [
        "50.25/40.5 (indoor)",
        "91/81",
        "60/61 (V>I, split 2)",
        "RegDB 1.25/2.5 (re-ranked) night 3/4 (transductive, all-search)",
    ]
    assert rows(text)["elsewhere"][0] == "Smith, CVPR 2023" and rows(text)["elsewhere"][-1] == "Apache-2.0"


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_name_or_figure_is_cut_however_narrow_the_terminal(ivreid, monkeypatch, columns: int) -> None:
    """COLUMNS is what a terminal of that width is, and is heeded through a pipe too."""
    register_method(Elsewhere)
    monkeypatch.setenv("COLUMNS", str(columns))
    text = ivreid("methods").out
    listed = text.partition("next: ")[0]
    assert max(map(len, listed.splitlines())) <= columns
    assert "…" not in text
    shown = re.sub(r"[│┃:;,]", " ", text).split()
    for kind in METHODS.values():
        for word in re.sub(r"[:;,]", " ", " ".join(cells(kind))).split():
            assert word in shown or word == "-", (kind.name, word)
    assert ("│" in text) == (columns == 200)


def test_a_narrow_list_says_under_each_method_what_its_figures_are(ivreid, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    blocks = {one.partition(":")[0]: one.splitlines() for one in ivreid("methods").out.split("\n\n")}
    assert blocks["agw"] == [
        "agw: Ye et al., TPAMI 2021; code: MIT",
        "  embedding 2048, 23.5 M parameters, 5.1 GMAC, 64 images a step",
        "  SYSU all-search, single-shot R1/mAP 47.5/47.65",
        "  RegDB visible to infrared R1/mAP 70.05/66.37",
        "  LLCM infrared to visible R1/mAP 43.6/51.8",
    ]
    assert blocks["mcja"][2:] == ["  with other test images SYSU 89.51/87.58 (transductive)"]


@pytest.mark.parametrize("columns", ["", "0", "wide"])
def test_a_pipe_without_a_usable_width_gets_the_whole_table(ivreid, monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert figures(ivreid("methods").out, "agw")[0] == "47.5/47.65"


def test_the_line_below_the_list_speaks_of_nothing_that_is_not_in_it(ivreid) -> None:
    text = ivreid("methods").out
    assert "indoor" not in text and "I>V" in text.partition("R1/mAP in percent are")[0]


def test_only_methods_of_this_package_are_ours(ivreid) -> None:
    register_method(Unpublished)
    found = rows(ivreid("methods").out)
    assert (found["baseline"][0], found["baseline"][-1]) == ("ours", "MIT")
    assert (found["unpublished"][0], found["unpublished"][-1]) == ("-", "-")
    assert [name for name, cells in found.items() if cells[0] == "ours"] == ["baseline"]
    assert "Nothing was published about it" in ivreid("methods", "unpublished").out


def test_a_recipe_that_a_transformer_changes_says_so(ivreid) -> None:
    recipe = ivreid("methods", "baseline").out.partition("recipe: baseline")[2]
    own = recipe.partition("with a transformer: ")[2]
    assert "name: adamw" in own and "name: adam\n" in recipe.partition("with a transformer: ")[0]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_page_says_what_was_verified_and_what_was_published(name: str, ivreid) -> None:
    kind, page = METHODS[name], ivreid("methods", name).out
    verified = page.partition("\nVerified here: ")[2].partition("\n\n")[0]
    assert len(verified.split()) > 10
    assert verified in page.partition("options (method: ...)")[0]  # in the file's own text
    claimed = page.partition("published, not measured here")[2]
    if kind.publication is None:
        assert "Nothing was published about it" in claimed
        return
    for one in kind.publication.figures:
        (line,) = (
            line
            for line in claimed.splitlines()
            if line.startswith(
                f"{one.dataset}, {one.setting}: Rank-1 {digits(one.rank1)}, mAP {digits(one.mean_ap)}"
            )
        )
        assert one.mean_inp is None or f", mINP {digits(one.mean_inp)} (" in line
        assert f"({one.kind}; from {one.source}" in line
        assert one.split is None or f"split {one.split}" in line
