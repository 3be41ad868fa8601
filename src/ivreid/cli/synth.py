"""`ivreid synth`: write a synthetic dataset in a real dataset's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.errors import UsageError, counted
from ivreid.synthetic import DEFAULT_GAP, synthesise, write_contact_sheet


def run(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must be new or empty.")],
    layout: Annotated[str, typer.Option(help="Whose layout: sysu-mm01, regdb or llcm.")] = "sysu-mm01",
    identities: Annotated[int, typer.Option(help="How many people.")] = 120,
    images: Annotated[
        int, typer.Option(help="Pictures per person and camera (regdb: per person and modality).")
    ] = 10,
    size: Annotated[
        str, typer.Option(help="Height x width in pixels; sysu-mm01 and llcm vary around it.")
    ] = "128x64",
    seed: Annotated[
        int, typer.Option(help="Another seed is another world: other people, cameras and places.")
    ] = 0,
    gap: Annotated[
        float, typer.Option(help="0: infrared is grey visible; 1: only shape survives.")
    ] = DEFAULT_GAP,
    workers: Annotated[
        int | None, typer.Option(help="Processes; all cores unless given. Changes no picture.")
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also write an overview picture (PNG) here.")
    ] = None,
) -> None:
    """Write a synthetic dataset: pedestrians in colour and infrared, in a real dataset's layout.

    The same seed gives the same pictures on any number of processes. Run the same command again to
    finish an interrupted dataset; on a finished one it returns at once.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.io import check_output, starting_with

    shape = parse_size(size)
    if contact_sheet is not None:
        check_output(contact_sheet, starting_with("overview pictures", ".png", b"\x89PNG\r\n\x1a\n"))
        if out.resolve() in contact_sheet.resolve().parents[1:]:
            raise UsageError(
                f"{contact_sheet} lies among the dataset's pictures; choose another place for the overview"
            )
    with progress_bar("Drawing") as tick:
        summary = synthesise(
            out,
            layout=layout,
            identities=identities,
            images=images,
            size=shape,
            seed=seed,
            gap=gap,
            workers=workers,
            progress=tick,
        )
    console = Terminal()
    state = "already there" if summary.reused else f"written in {summary.seconds:.0f} s"
    people = f"{counted(summary.images, 'picture')} of {counted(summary.identities, 'person', 'people')}"
    console.print(f"{people}, {layout} layout, {state}: {summary.root}")
    if contact_sheet is not None:
        write_contact_sheet(contact_sheet, layout=layout, seed=seed, gap=gap, size=shape)
        console.print(f"overview: {contact_sheet}")


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of a size such as 128x64.

    Raises:
        UsageError: Anything else.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise UsageError(f"--size must be HEIGHTxWIDTH in pixels, such as 128x64, not {text!r}")
    return int(parts[0]), int(parts[1])
