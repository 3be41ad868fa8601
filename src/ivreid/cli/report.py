"""`ivreid report`: a run folder's HTML page, written beside what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins


def run(
    run_dir: Annotated[
        Path,
        typer.Argument(
            help="A run folder, as `ivreid train` and `ivreid evaluate` leave it", metavar="RUN_DIR"
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The dataset's folder, where it has moved since training", metavar="ROOT"
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All pictures, in the folder report_pictures beside the page")
    ] = False,
    plugins: Plugins = None,
) -> None:
    """Write RUN_DIR/report.html: results, curves, ranked lists with pictures, failures, distances, settings.

    The page carries everything inside itself: it opens offline and can be mailed. What the run does not hold
    (no evaluation yet, images not on this machine) is left out with a sentence that says why.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.report import write_report

    Terminal().print(str(write_report(run_dir, data=data, full=full)))
