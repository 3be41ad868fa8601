"""Tables as people read them: in a terminal, or in a paper's, a page's or a spreadsheet's form; notes below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ivreid.analysis.grid import FORMS, Cell, Grid
from ivreid.analysis.result_tables import results_grid
from ivreid.cli.terminal import Terminal
from ivreid.protocols import Result


def show_results(results: Sequence[Result], form: str | None = None) -> None:
    """Print one table on stdout, and below it what a reader must know.

    Args:
        results: Of one model; at least one.
        form: "latex", "markdown" or "csv"; None for the terminal's table.
    """
    show_grids([results_grid(results)], form)


def show_grids(grids: Sequence[Grid], form: str | None = None) -> None:
    """Print tables on stdout; a CSV's notes go to stderr, where they spoil nothing."""
    if form is not None:
        Terminal().print(FORMS[form](grids), end="")
        if form == "csv":
            for note in dict.fromkeys(note for grid in grids for note in grid.notes):
                Terminal(stderr=True).print(f"note: {note}")
        return
    console = Terminal(wrap=True)
    for grid in grids:
        for words in grid.caption:
            console.print(Text(words))
        for block in grid.blocks:
            if block.heading:
                console.print(Text(block.heading, style="italic"))
            console.print(terminal_table(grid.head, block.rows))
        for note in grid.notes:
            console.print(Text(f"note: {note}"), soft_wrap=True)


def terminal_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """The table; a cell's spread stands in a line of its own, so that a row fits 80 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column(Text(head[0]), overflow="fold", min_width=10)
    for name in head[1:]:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(_in_terminal, row))
    return table


def _in_terminal(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.bold else "")
    return text.append(f"\n{cell.detail}", style="not bold") if cell.detail else text
