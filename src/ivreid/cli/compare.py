"""`ivreid compare`: two results files, their difference, and whether it means anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ivreid.analysis.compare import Comparison

NAMES = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"}


def run(
    before: Annotated[
        Path, typer.Argument(help="Results to compare with: a JSON file or a run folder", metavar="A.json")
    ],
    after: Annotated[
        Path, typer.Argument(help="Results in question; differences are B - A", metavar="B.json")
    ],
    *,
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling; the same seed gives the same intervals")] = 0,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the comparison as JSON", metavar="OUT")
    ] = None,
) -> None:
    """Compare two results files: difference, interval, and a warning for every reason not to compare them.

    Where both files hold outcomes per person, as `ivreid evaluate` and `ivreid score` write them, the same
    people are drawn again for both (a paired bootstrap over query identities); otherwise the trials are
    paired, and the output says so. Files of several settings are joined by setting. An interval without zero
    is marked with *.
    """
    from ivreid.analysis import compare_results
    from ivreid.cli.terminal import Terminal
    from ivreid.io import check_output, json_with, write_json

    if json is not None:
        read = [path / "results.json" if path.is_dir() else path for path in (before, after)]
        check_output(json, json_with("comparisons", "before", "after", "differences"), inputs=read)
    found = compare_results(before, after, seed=seed, confidence=confidence)
    console = Terminal()
    notices = Terminal(stderr=True)
    for comparison in found.settings:
        for warning in comparison.warnings:
            notices.print("warning:", style="bold yellow", end=" ")
            notices.print(warning)
        console.print(_table(comparison, confidence))
        console.print(f"{confidence:.0%} intervals: {comparison.explanation}")
    for line in found.unmatched:
        notices.print(line)
    if json is not None:
        write_json(json, found.to_json())


def _table(comparison: Comparison, confidence: float) -> Table:
    from rich.table import Table

    table = Table(title=f"A: {comparison.before}\nB: {comparison.after}", title_justify="left")
    table.add_column("percent")
    for heading in ("A", "B", "B - A", f"{confidence:.0%} interval", ""):
        table.add_column(heading, justify="right")
    for row in comparison.differences:
        interval = row.interval
        shown = f"{100 * interval.low:+.2f} .. {100 * interval.high:+.2f}" if interval else "-"
        table.add_row(
            NAMES.get(row.figure, row.figure),
            f"{100 * row.before:.2f}",
            f"{100 * row.after:.2f}",
            f"{100 * row.difference:+.2f}",
            shown,
            "*" if row.clear else "",
        )
    return table
