"""`ivreid compare`: results side by side, their differences, and whether they mean anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Csv, Latex, Markdown, chosen_form

if TYPE_CHECKING:
    from rich.table import Table

    from ivreid.analysis.compare import Comparison


def run(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Results files or run folders, two or more", metavar="A B [C ...]"),
    ],
    *,
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling; the same seed gives the same intervals")] = 0,
    latex: Latex = False,
    markdown: Markdown = False,
    csv: Csv = False,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the comparison as JSON", metavar="OUT")
    ] = None,
) -> None:
    """Compare results: a table with intervals and the best bold, or of two the differences B - A.

    Two runs: each figure's difference with its interval, and a warning for every reason not to compare them. Where
    both hold outcomes per person, as `ivreid evaluate` and `ivreid score` write them, the same people are drawn
    again for both (a paired bootstrap over query identities); otherwise the trials are paired, and the output says
    so. An interval without zero is marked with *.

    Three or more, or --latex, --markdown or --csv: one table a protocol setting, the setting in its caption. Plain
    and re-ranked rows are never ranked together. * marks what differs from the best by more than chance.
    """
    from ivreid.analysis import compare_results, compare_runs
    from ivreid.cli.results_table import show_grids
    from ivreid.cli.terminal import Terminal
    from ivreid.io import check_output, json_with, write_json

    form = chosen_form(latex, markdown, csv)
    differences = len(runs) == 2 and form is None
    if json is not None:
        keys = ("before", "after", "differences") if differences else ("title", "blocks", "notes")
        read = [path / "results.json" if path.is_dir() else path for path in runs]
        check_output(json, json_with("comparisons", *keys), inputs=read)
    if not differences:
        tables = compare_runs(runs, seed=seed, confidence=confidence)
        show_grids([table.grid() for table in tables], form)
        if json is not None:
            write_json(json, [table.to_json() for table in tables])
        return
    found = compare_results(*runs, seed=seed, confidence=confidence)
    notices = Terminal(stderr=True)
    told: set[str] = set()  # a note of the model stands in each of its results
    for comparison in found.settings:
        for warning in comparison.warnings:
            if warning not in told:
                notices.print("warning:", style="bold yellow", end=" ")
                notices.print(warning)
        told.update(comparison.warnings)
        Terminal().print(_table(comparison, confidence))
        Terminal().print(f"{confidence:.0%} intervals: {comparison.explanation}")
    for line in found.unmatched:
        notices.print(line)
    if json is not None:
        write_json(json, found.to_json())


def _table(comparison: Comparison, confidence: float) -> Table:
    from rich.table import Table

    from ivreid.analysis.result_tables import LABELS

    table = Table(title=f"A: {comparison.before}\nB: {comparison.after}", title_justify="left")
    table.add_column("percent")
    marked = any(row.clear for row in comparison.differences)
    for heading in ("A", "B", "B - A", f"{confidence:.0%} interval", *[""] * marked):
        table.add_column(heading, justify="right")
    for row in comparison.differences:
        interval = row.interval
        shown = f"{100 * interval.low:+.2f} .. {100 * interval.high:+.2f}" if interval else "-"
        table.add_row(
            LABELS.get(row.figure, row.figure),
            f"{100 * row.before:.2f}",
            f"{100 * row.after:.2f}",
            f"{100 * row.difference:+.2f}",
            shown,
            *["*" if row.clear else ""] * marked,
        )
    return table
