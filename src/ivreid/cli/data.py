"""`ivreid data`: look at a dataset before trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Plugins
from ivreid.paths import user_path

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal

app = typer.Typer(
    help="Check a dataset on disk: counts, and every problem in one pass.", no_args_is_help=True
)

UNDECODED = "without decoding the images"


@app.callback()
def _data() -> None:
    """Check a dataset on disk: counts, and every problem in one pass."""


@app.command()
def check(
    dataset: Annotated[
        str,
        typer.Argument(
            help="Its name, as listed below, and then its folder; or the folder alone, which tells the dataset",
            metavar="DATASET|ROOT",
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Argument(
            help="The dataset's folder, behind its name; for csv also the file itself", metavar="ROOT"
        ),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image whole: finds damage inside, takes minutes")
    ] = False,
    value_range: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="How grey of more than eight bits will become grey, image or LOW,HIGH: then it is no problem",
        ),
    ] = None,
    caches: Annotated[
        bool,
        typer.Option("--caches", help="Verify the image caches of these pictures too, row by row"),
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every problem, not the first 20 of a kind")
    ] = False,
    plugins: Plugins = None,
) -> None:
    """Count identities and images per split, camera and modality, and report every problem in one pass.

    Exit status: 0 no problem, 1 problems found, 2 no such folder or dataset.
    """
    from ivreid.cli.data_report import counts_table, print_problems
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.datasets import check_dataset, recognise_data
    from ivreid.errors import CheckFailed, counted
    from ivreid.io import parse_value_range

    if root is None:
        root = user_path(Path(dataset))
        dataset = recognise_data(root)
    rule = parse_value_range(value_range) if value_range is not None else None
    with progress_bar("Decoding images" if decode else "Looking at images") as tick:
        report = check_dataset(dataset, root, decode=decode, value_range=rule, progress=tick)
    console = Terminal()
    console.print(counts_table(report))
    console.print(f"fingerprint {report.fingerprint}")
    console.print(f"checked: {report.checked}")
    for notice in report.notices:
        console.print(f"note: {notice}")
    print_problems(console, report, show_all)
    if caches:
        _verify_caches(console, report.root)
    if not report.ok:
        fatal = sum(problem.fatal for problem in report.problems)
        raise CheckFailed(
            f"{counted(len(report.problems), 'problem')} in {report.root}, "
            f"{fatal:,} of them {'makes' if fatal == 1 else 'make'} it unusable"
        )
    console.print("no problems found" if decode else f"no problems found {UNDECODED}", style="green")


def _verify_caches(console: Terminal, root: Path) -> None:
    """Say of each cache of these pictures whether its rows are sound; a damaged one is removed by no one."""
    from ivreid.cli.progress import progress_bar
    from ivreid.data import default_cache_folder
    from ivreid.data.cache_check import check_cache, find_caches
    from ivreid.errors import CheckFailed

    found = find_caches(default_cache_folder(), root)
    if not found:
        console.print(f"note: no image cache of these pictures in {default_cache_folder()}")
    with progress_bar("Verifying image caches") as tick:
        reports = [check_cache(path, progress=tick) for path in found]
    for one in reports:
        console.print(f"cache {one.path}: {one.problem or f'{one.pictures:,} pictures, sound'}")
    if any(one.problem for one in reports):
        raise CheckFailed("an image cache is not as it was written, or of other pictures")
