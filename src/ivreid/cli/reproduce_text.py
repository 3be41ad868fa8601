"""A reproduction as people read it: published figures beside ours, then why they may differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ivreid.analysis.grid import Cell
from ivreid.cli.results_table import terminal_table
from ivreid.cli.terminal import Terminal
from ivreid.reproduction import Reproduction

HEAD = ("figure", "published", "ours", "95% interval", "ours - published")


def show_reproduction(found: Reproduction) -> None:
    """Print it on stdout; each setting stands above its figures in a line of its own, so that 80 columns cut nothing."""
    console = Terminal(wrap=True)
    console.print(Text(f"{found.method} on {found.dataset}, percent"))
    for row in found.rows:
        one = row.published
        kind = "" if one.kind == "plain" else f", {one.kind}"
        console.print(Text(f"\n{one.setting}, from {one.source}{kind}", style="italic"))
        console.print(terminal_table(HEAD, [_cells(figure) for figure in row.figures()]))
    console.print()
    for line in found.may_differ:
        console.print(f"- {line}")
    console.print(f"{found.file}: attach it to a report")


def _cells(figure: Mapping[str, Any]) -> tuple[Cell, ...]:
    published, interval, std = figure["published"], figure["interval"], figure["std"]
    return (
        Cell(figure["figure"].replace("rank1", "Rank-1")),
        Cell("-" if published is None else f"{100 * published:.2f}"),
        Cell(f"{100 * figure['ours']:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")),
        Cell(f"{100 * interval['low']:.2f} .. {100 * interval['high']:.2f}" if interval else "-"),
        Cell("-" if published is None else f"{100 * figure['difference']:+.2f}"),
    )
