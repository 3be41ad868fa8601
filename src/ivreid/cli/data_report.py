"""What `ivreid data check` prints: counts, and problems by kind."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ivreid.datasets.problems import printable

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.datasets import DatasetReport

SHOWN = 20
"""Problems of a kind, unless all are asked for."""


def counts_table(report: DatasetReport) -> Table:
    """Identities and images per split, modality and camera."""
    trials = any(count.trials for count in report.counts)
    table = Table(title=f"{report.name}: {report.root}")
    for heading in [*(["trial"] if trials else []), "split", "modality"]:
        table.add_column(heading)
    for heading in ("camera", "identities", "images"):
        table.add_column(heading, justify="right")
    for _, group in groupby(report.counts, key=lambda count: (count.trials, count.split)):
        rows = list(group)
        for count in rows:
            camera = "all" if count.camid is None else str(count.camid or "unknown")
            cells = [count.split, count.modality.value, camera, f"{count.identities:,}", f"{count.images:,}"]
            table.add_row(*([count.trials] if trials else []), *cells, end_section=count is rows[-1])
    return table


def print_problems(console: Terminal, report: DatasetReport, show_all: bool) -> None:
    """Every kind of problem with its first ones, or all."""
    for kind, group in groupby(report.problems, key=lambda problem: problem.kind):
        problems = list(group)
        console.print(Text(f"{kind} ({len(problems):,})", style="bold"))
        shown = problems if show_all else problems[:SHOWN]
        for problem in shown:
            console.print(Text(printable(f"  {problem.path}: {problem.message}")))
        if len(problems) > len(shown):
            console.print(Text(f"  and {len(problems) - len(shown):,} more; --all shows them"))
