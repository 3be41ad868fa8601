"""Results as people read them: percent, mean ± standard deviation over trials, notes below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ivreid.cli.terminal import Terminal
from ivreid.protocols import Result

COLUMNS = {
    **{"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"},
    **{"mAP": "mAP", "mINP": "mINP"},
}


def show_results(results: Sequence[Result]) -> None:
    """Print one table on stdout, and below it what a reader must know."""
    console = Terminal(wrap=True)
    console.print(results_table(results))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        console.print(Text(f"note: {note}"), soft_wrap=True)


def results_table(results: Sequence[Result]) -> Table:
    """A row per result; rows that are not plain rankings say so in their name.

    Mean and deviation stand in two lines, so that the table fits 80 columns.
    """
    table = Table(pad_edge=False, show_lines=len(results) > 1)
    table.add_column("percent, mean ± std", overflow="fold", min_width=20)
    for name in COLUMNS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(_name(result), *(_cell(result, key) for key in COLUMNS))
    return table


def _cell(result: Result, key: str) -> str:
    mean = f"{100 * result.mean[key]:.2f}"
    return f"{mean}\n± {100 * result.std[key]:.2f}" if len(result.trials) > 1 else mean


def _name(result: Result) -> Text:
    lines = [result.title]
    trials = f", {len(result.trials)} trials" if len(result.trials) > 1 else ""
    lines.append(
        f"{result.valid_queries:,} of {result.queries:,} queries x {result.gallery:,} images{trials}"
    )
    return Text("\n".join(lines))
