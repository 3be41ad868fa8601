"""`ivreid report`: a run folder's HTML page, written beside what it shows; or one page about several runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Plugins
from ivreid.errors import UsageError

if TYPE_CHECKING:
    from ivreid.report.inputs import Attention


def run(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="A run folder, as `ivreid train` and `ivreid evaluate` leave it, or a study's; or several",
            metavar="RUN_DIR [RUN_DIR ...]",
        ),
    ],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The dataset's folder, where it has moved since training", metavar="ROOT"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="The page of several runs.  [default: comparison.html]"),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All pictures, in the folder report_pictures beside the page")
    ] = False,
    attention: Annotated[
        bool,
        typer.Option("--attention/--no-attention", help="Draw which regions decided; it needs the weights"),
    ] = True,
    plugins: Plugins = None,
) -> None:
    """Write RUN_DIR/report.html: results, curves, ranked lists with pictures, failures, distances, settings.

    The page carries everything inside itself: it opens offline and can be mailed. What the run does not hold
    (no evaluation yet, images not on this machine) is left out with a sentence that says why.

    Of several runs: one page with their figures side by side, training curves over each other, and queries that one
    wins and the other loses.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.report import write_comparison, write_report

    if len(runs) > 1:
        if full:
            raise UsageError("--full is for the page of one run")
        page = write_comparison(runs, out if out is not None else "comparison.html", data=data)
    elif out is not None:
        raise UsageError("--out is for a page of several runs; that of one run is its report.html")
    else:
        page = write_report(
            runs[0], data=data, full=full, attention=_attention(runs[0]) if attention else None
        )
    Terminal().print(str(page))


def _attention(run_dir: Path) -> Attention | None:
    if not (run_dir / "weights.safetensors").is_file():
        return None
    from ivreid.inference import explain_pairs

    return explain_pairs(run_dir)
