"""`ivreid gallery add`: pictures into a gallery, once or as they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, BatchSize, Device, Workers, Zone, the_time, the_zone
from ivreid.reading import shown_address
from ivreid.types import Modality

SHOWN = 20


def add(
    gallery: Address,
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder with all folders in it, a picture, or a table (.csv, .jsonl) with the columns path, camera, "
            "time, modality, tracklet, pid, quality; a folder with manifest.csv is read by it",
            metavar="FOLDER|TABLE|PICTURE",
        ),
    ],
    camera: Annotated[
        str | None, typer.Option(help="The camera's name; folders camN say it too", metavar="NAME")
    ] = None,
    modality: Annotated[Modality | None, typer.Option(help="What kind of camera it is")] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="When they were taken, 2026-03-01T22:00+01:00; or exif, or modified, to ask each file",
            metavar="TIME",
        ),
    ] = None,
    zone: Zone = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="What the files' names say: '{camera}_{time:%Y%m%d-%H%M%S}_{tracklet}.jpg'; {} is anything",
            metavar="PATTERN",
        ),
    ] = None,
    tracklet: Annotated[str | None, typer.Option(help="The track they belong to", metavar="NAME")] = None,
    pid: Annotated[int | None, typer.Option(help="The person they show", metavar="PID")] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Of several numbered folders above a picture, which names the person: outer, inner or none",
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Keep the pictures too, for pages that show them")
    ] = True,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Record pictures that cannot be read, and end well all the same"),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on taking in what arrives in the folder, until Ctrl-C")
    ] = False,
    every: Annotated[float, typer.Option(help="With --watch: seconds between two looks", min=0.1)] = 2.0,
    device: Device = "auto",
    batch_size: BatchSize = 64,
    workers: Workers = None,
) -> None:
    """Take pictures into a gallery; what is there already is left as it is, so a call may be repeated or resumed.

    What a column or a file's name says of a picture goes before the options.
    """
    from ivreid.cli.gallery_text import taken_sentence
    from ivreid.cli.gallery_watch import watch_folder
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery import Gallery
    from ivreid.gallery.intake import Told
    from ivreid.gallery.patterns import Pattern

    tz = the_zone(zone)
    told = Told(
        camera=camera,
        modality=modality,
        time=time if time in ("exif", "modified") else the_time(time, tz),  # type: ignore[arg-type]
        zone=tz,
        tracklet=tracklet,
        pid=pid,
        pattern=None if pattern is None else Pattern(pattern),
        identity=identity,
    )
    say = Terminal(stderr=True).print
    with Gallery.open(gallery, device=device, batch_size=batch_size, workers=workers) as opened:
        if watch:
            watch_folder(opened, source, told, every=every, pictures=pictures)
            return
        with progress_bar("Adding") as tick:
            taken = opened.add(
                source, told=told, pictures=pictures, skip_bad=skip_bad, notice=say, progress=tick
            )
        for line in taken.bad[:SHOWN]:
            say(f"skipped: {line}")
        Terminal().print(f"{taken_sentence(taken)} -> {shown_address(gallery)}")
