"""`ivreid doctor`: what this machine offers, and what would make training faster."""

from __future__ import annotations


def run() -> None:
    """Say what this machine offers and what would make training faster.

    Devices, versions, memory, disk and threads. Changes nothing. Send its output along when you report a
    problem.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ivreid.doctor import examine_machine

    findings = examine_machine()
    table = Table("what", "found", title="ivreid doctor", title_justify="left")
    for finding in findings:
        table.add_row(finding.what, escape(finding.value))
    console = Console()
    console.print(table)
    advice = [finding for finding in findings if finding.advice]
    if not advice:
        console.print("Nothing to improve that we know of.")
    for finding in advice:
        console.print(f"[bold]{finding.what}[/bold]: {escape(finding.advice)}", soft_wrap=True)
