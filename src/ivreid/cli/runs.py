"""`ivreid runs`: what lies in a folder of runs, how far each is, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MARKS = {"validation": " val", "re-ranked test": " re-ranked"}
"""Behind figures that are of no plain test."""


def run(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of runs.")] = Path("runs"),
) -> None:
    """List the runs, studies and searches in a folder: state, best figures, size.

    Figures are of the test where there was one, else of the best validation, which is marked "val". A re-ranked result
    stands here only where there is no plain one, and is marked "re-ranked". Changes nothing.
    """
    from rich.table import Table
    from rich.text import Text

    from ivreid.cli.terminal import Terminal
    from ivreid.inventory import list_runs
    from ivreid.io import size_in_words

    found = list_runs(folder)
    if not found:
        Terminal(stderr=True).print(
            f"{folder} holds no run; `ivreid train CONFIG --out {folder}/NAME` makes one"
        )
        return
    console = Terminal(wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("folder", overflow="fold", min_width=12)
    table.add_column("method", overflow="fold")
    table.add_column("state", overflow="fold")
    for head in ("Rank-1", "mAP", "size"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in found:
        mark = MARKS.get(one.measured_on, "")
        name = one.path.relative_to(folder) if one.path != folder else one.path
        table.add_row(
            Text(f"{name}/" if one.kind != "run" else str(name)),
            Text(f"{one.method} {one.dataset}"),
            Text(one.state if one.kind == "run" else f"{one.kind} of {one.state}"),
            *("" if part is None else f"{100 * part:.1f}{mark}" for part in (one.rank1, one.mean_ap)),
            size_in_words(one.size),
        )
    console.print(table)
    whole = sum(one.size for one in found if not any(other.path in one.path.parents for other in found))
    console.print(f"{len(found)} in {folder}, {size_in_words(whole)}", style="dim")
