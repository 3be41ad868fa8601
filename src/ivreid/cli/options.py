"""Options that several verbs share."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ivreid.errors import UsageError
from ivreid.paths import user_path


def _load(files: list[Path] | None) -> list[Path] | None:
    if not files:
        return files
    from ivreid.cli.rank_output import print_error
    from ivreid.distributed.failure import fail_once
    from ivreid.distributed.processes import process_from_environment
    from ivreid.plugins import load_plugin

    with fail_once(process_from_environment(), print_error):  # torchrun starts several of us
        for file in files:
            load_plugin(file)
    return files


Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Run a Python file that you trust, with methods, datasets or protocols of your own; repeatable.",
        is_eager=True,  # before --help, which then lists its names too
        callback=_load,
    ),
]

Mode = Annotated[str | None, typer.Option(help="SYSU-MM01: all (default) or indoor.")]
Shots = Annotated[
    int | None, typer.Option(help="SYSU-MM01: gallery images per person and camera, 1 (default) or 10.")
]
Draw = Annotated[
    str | None,
    typer.Option(
        help="SYSU-MM01: how galleries are drawn: official (default where rand_perm_cam.mat is), agw, iv-reid, or "
        "seeded, our own."
    ),
]
Direction = Annotated[
    str | None,
    typer.Option(
        help="RegDB, LLCM, your own data: query-first, infrared-to-visible (default) or visible-to-infrared; LLCM "
        "also visible-to-infrared-swapped."
    ),
]
OpenSet = Annotated[
    bool,
    typer.Option(
        "--open-set", help="Half of the people absent from the gallery: who is found, who is mistaken."
    ),
]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Both modalities in one gallery, and how much each is favoured.")
]
GallerySizes = Annotated[
    bool, typer.Option("--gallery-sizes", help="Say also how the ranks would be in smaller galleries.")
]
Permutations = Annotated[
    Path | None,
    typer.Option(metavar="FILE.mat", help="SYSU-MM01: rand_perm_cam.mat, where no dataset holds it."),
]
Rerank = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:KEY=VALUE,...]",
        help="Re-rank: k-reciprocal, average-query-expansion, aim, query-reciprocal or mser, e.g. aim:k1=4,k2=1; marks "
        "the result, which then compares with no plain one. Parameters left out are SYSU-MM01's; for RegDB mser and aim "
        "were published with others: docs/statistics.md.",
    ),
]
Flip = Annotated[
    str | None,
    typer.Option(
        "--flip",
        metavar="[HOW]",
        help="Embed mirror images, too, and take the mean: average (where HOW is left out), unit (each at length 1 "
        "first) or none; marks the result.",
    ),
]
ResultJson = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help="Also write the result as JSON.")
]


AllSettings = Annotated[
    bool, typer.Option("--all-settings", help="Every mode, number of shots and direction, in one table.")
]
PerQuery = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.csv",
        help="Also write every query: average precision, rank of its first match, whom it met instead.",
    ),
]
Latex = Annotated[bool, typer.Option("--latex", help="Print LaTeX (package booktabs).")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, with intervals in columns of their own.")]


def chosen_form(latex: bool, markdown: bool, csv: bool) -> str | None:
    """The form that tables are printed in; None for the terminal's.

    Raises:
        UsageError: Two of them.
    """
    chosen = [name for name, asked in (("latex", latex), ("markdown", markdown), ("csv", csv)) if asked]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other: one form at a time")
    return chosen[0] if chosen else None


def again(plugins: list[Path] | None) -> str:
    """The options that give the same plugins in a command to come, with a space before each."""
    return "".join(f" --plugin {shlex.quote(str(file))}" for file in plugins or ())


def with_user_paths(run: Callable[..., None]) -> Callable[..., None]:
    """A verb whose paths are taken as people write them, see `user_path`."""

    @wraps(run)
    def verb(**given: Any) -> None:
        run(**{name: _expanded(value) for name, value in given.items()})

    return verb


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return user_path(value) if isinstance(value, Path) else value
