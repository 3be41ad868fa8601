"""`ivreid init`: a table and a configuration of pictures as people have them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.errors import UsageError, counted

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.owndata import Ask, InitSummary, Question


def run(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER|TABLE", help="A folder of pictures, or a .csv that lists them")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="TABLE.csv", help="The table to write.  [default: people.csv in FOLDER]"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="The configuration to write.  [default: beside the table]"),
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(metavar="PART", help='What names the person: "folder 2", "name 1", or a column'),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="PART", help="What names the camera; none where it is unknown")
    ] = None,
    infrared: Annotated[
        str | None,
        typer.Option(metavar="MARKS", help="What marks infrared pictures, with commas: cam3,cam6 or night"),
    ] = None,
    same_cameras: Annotated[
        str | None,
        typer.Option(metavar="shared|apart", help="A camera number in both modalities: one device, or two"),
    ] = None,
    across_days: Annotated[
        str | None,
        typer.Option(metavar="same|apart", help="A person's number under several days: one person, or not"),
    ] = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Configure a small network without ImageNet weights, for a CPU.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table and configuration that are there.")
    ] = False,
) -> None:
    """Make a table for training of pictures of your own: say what names tell, ask what they do not.

    A folder's first level is "folder 1", the parts of a file's name between _ - . and spaces are "name 1", "name 2".
    Names such as 0001_c1s1_000151_01.jpg, folders of people, cameras (cam2), days, tracklets and modalities (RGB, NIR,
    thermal...) are understood; what may mean two things is asked, or without a terminal refused with the option that
    answers it.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.owndata import Answers, init_dataset

    console = Terminal()
    asking = sys.stdin.isatty() and sys.stdout.isatty()
    made = init_dataset(
        source,
        out=out,
        config=config,
        answers=Answers(person, camera, infrared, same_cameras, across_days),
        ask=_asking(console) if asking else None,
        scratch=scratch,
        overwrite=overwrite,
    )
    _show(made, console)


def _asking(console: Terminal) -> Ask:
    """Asks in the terminal, again where the answer is none of the choices."""
    from ivreid.owndata.answers import check_answer

    def ask(question: Question) -> str:
        for line in question.lines():
            console.print(line)
        while True:
            answer = str(typer.prompt(question.option))
            try:
                return check_answer(question.option, answer, [one for one, _ in question.choices])
            except UsageError as error:
                console.print(str(error))

    return ask


def _show(made: InitSummary, console: Terminal) -> None:
    from ivreid.cli.invocation import command

    kinds = ", ".join(f"{count:,} {modality}" for modality, count in sorted(made.modalities.items()))
    cameras = counted(len(made.cameras), "camera") if made.cameras else "cameras unknown"
    people = counted(made.people, "person", "people")
    console.print(f"{counted(made.pictures, 'picture')} of {people}: {kinds}; {cameras}")
    console.print("\n".join(f"  {line}" for line in made.examples))
    if made.cameras and made.without_camera:
        console.print(f"{made.without_camera:,} without a camera: no camera rule holds for them")
    if any(name != str(number) for name, number in made.cameras.items()):
        console.print("cameras: " + ", ".join(f"{name} is {number}" for name, number in made.cameras.items()))
    shares = ", ".join(f"{count} {name}" for name, count in made.splits.items())
    console.print(
        f"people: {shares}" if shares else "no split in the names: training divides the people by identity"
    )
    for note in made.notes:
        console.print(f"note: {note}")
    me, table, config = command(), shlex.quote(str(made.table)), shlex.quote(str(made.config))
    console.print(f"{made.table}\n{made.config}\nnext: {me} data check {table}, then {me} train {config}")
