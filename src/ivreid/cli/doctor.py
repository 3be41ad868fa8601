"""`ivreid doctor`: what this machine offers, and whether files on disk hold what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Run folders, weights, checkpoints, features, results, image caches or their folder: verify them",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="List the image caches, in PATH or where they are by default.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="With --cache: delete those that no run will read again.")
    ] = False,
    clean_all: Annotated[
        bool, typer.Option("--clean-all", help="With --cache: delete all; runs build them anew.")
    ] = False,
) -> None:
    """Say what this machine offers, or verify what lies on disk.

    Without PATH: devices, versions, memory, disk and threads, and what would make training faster. Changes
    nothing. Send its output along when you report a problem.

    With PATH: every file is read whole and compared with the digests and checksums it was written with. Exit
    status: 0 all sound, 1 something is damaged or outdated, 2 nothing to verify.
    """
    from ivreid.errors import UsageError

    if (clean or clean_all) and not cache:
        raise UsageError("--clean and --clean-all go with --cache: ivreid doctor --cache --clean")
    if cache:
        from ivreid.cli.cache_text import show_caches

        for folder in [*paths] if paths else [None]:
            show_caches(folder, clean=clean, everything=clean_all)
    elif paths:
        _verify(paths)
    else:
        _examine()


def _verify(paths: list[Path]) -> None:
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import CheckFailed
    from ivreid.verify import verify_files

    with progress_bar("Verifying") as tick:
        found = [report for path in paths for report in verify_files(path, progress=tick)]
    console = Terminal()
    for report in found:
        state = f"BAD   {report.problem}" if report.problem else f"sound {report.what} ({report.proof})"
        console.print(f"{report.path}: {state}")
    bad = sum(bool(report.problem) for report in found)
    if bad:
        raise CheckFailed(f"{bad} of {len(found)} files are not as they were written")


def _examine() -> None:
    from rich.table import Table
    from rich.text import Text

    from ivreid.cli.terminal import Terminal
    from ivreid.doctor import examine_machine

    findings = examine_machine()
    table = Table("what", "found", title="ivreid doctor", title_justify="left")
    for finding in findings:
        table.add_row(finding.what, finding.value)
    console = Terminal(wrap=True)
    console.print(table)
    advice = [finding for finding in findings if finding.advice]
    if not advice:
        console.print("Nothing to improve that we know of.")
    for finding in advice:
        console.print(Text.assemble((finding.what, "bold"), f": {finding.advice}"), soft_wrap=True)
