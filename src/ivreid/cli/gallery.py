"""`ivreid gallery`: a store of crops to search in."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.gallery_index import index
from ivreid.cli.gallery_moves import copy, export
from ivreid.cli.gallery_options import (
    Address,
    BatchSize,
    Cameras,
    Device,
    From,
    Json,
    OfModality,
    Pids,
    To,
    Tracklets,
    Workers,
    Zone,
    the_filter,
    the_time,
    the_zone,
)
from ivreid.cli.gallery_removal import delete, erase, expire
from ivreid.reading import shown_address
from ivreid.types import Modality

if TYPE_CHECKING:
    from ivreid.gallery.intake import Told

HELP = "Keep crops of many cameras, with their vectors, to search in."
app = typer.Typer(help=HELP, no_args_is_help=True)
SHOWN = 20


@app.callback()
def _gallery() -> None:
    """Keep crops of many cameras, with their vectors, to search in."""


@app.command()
def create(
    gallery: Address,
    model: Annotated[
        str,
        typer.Option(help="Run folder, weights file, or hf://ORG/NAME[@REVISION]", metavar="RUN_DIR|WEIGHTS"),
    ],
) -> None:
    """Make an empty gallery for a model's vectors. It keeps a copy of the weights: `add` and `search` need no other."""
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery import Gallery

    with Gallery.create(gallery, model, device="cpu") as made:
        bound = made.store.binding
        Terminal().print(
            f"an empty gallery of {bound.name} ({bound.dimension} values a crop) -> {shown_address(gallery)}"
        )


@app.command()
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
    notices = Terminal(stderr=True)
    with Gallery.open(gallery, device=device, batch_size=batch_size, workers=workers) as opened:
        if watch:
            _watch(opened, source, told, every, pictures)
            return
        with progress_bar("Adding") as tick:
            taken = opened.add(
                source,
                told=told,
                pictures=pictures,
                skip_bad=skip_bad,
                notice=notices.print,
                progress=tick,
            )
        for line in taken.bad[:SHOWN]:
            notices.print(f"skipped: {line}")
        parts = [f"{len(taken.added):,} new crop(s)"]
        parts += [f"{taken.known:,} there already"] if taken.known else []
        parts += [f"{taken.erased:,} refused, for they were erased"] if taken.erased else []
        parts += [f"{len(taken.bad):,} skipped"] if taken.bad else []
        Terminal().print(f"{', '.join(parts)} -> {shown_address(gallery)}")


def _watch(gallery: object, folder: Path, told: Told, every: float, pictures: bool) -> None:
    from threading import Event

    from ivreid.cli.signals import ended_by_signals
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery import Gallery
    from ivreid.gallery.watch import watch

    assert isinstance(gallery, Gallery)
    console, ended = Terminal(), Event()
    console.print(f"watching {folder}; Ctrl-C ends it")
    with ended_by_signals(ended):
        taken = watch(
            gallery,
            folder,
            told,
            every=every,
            pictures=pictures,
            notice=console.print,
            stop=ended.is_set,
            pause=ended.wait,
        )
    console.print(f"{len(taken.added):,} new crop(s) while watching, {len(taken.bad):,} skipped")


@app.command()
def info(gallery: Address, json: Json = False) -> None:
    """Say what a gallery holds: crops, cameras, times, and the model it is bound to."""
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery.opening import open_store

    store = open_store(gallery)
    summary, bound = store.summary(), store.binding
    store.close()
    first, last = (None if time is None else time.isoformat() for time in (summary.first, summary.last))
    console = Terminal()
    if json:
        values = {
            "crops": summary.crops, "cameras": dict(summary.cameras), "modalities": dict(summary.modalities),
            "tracklets": summary.tracklets, "first": first, "last": last, "bytes": summary.bytes,
            "model": bound.name, "weights_fingerprint": bound.fingerprint, "dimension": bound.dimension,
        }  # fmt: skip
        console.print(json_text.dumps(values, indent=1))
        return
    console.print(
        f"{summary.crops:,} crop(s), {summary.tracklets:,} tracklet(s), {summary.bytes / 1e6:,.1f} MB"
    )
    if summary.crops:
        console.print(f"from {first} to {last}")
        console.print(", ".join(f"{n:,} {name}" for name, n in summary.modalities.items()))
        console.print("cameras: " + ", ".join(f"{name} ({n:,})" for name, n in summary.cameras.items()))
    console.print(f"model: {bound.name}, {bound.dimension} values a crop, fingerprint {bound.fingerprint}")


@app.command()
def show(
    gallery: Address,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Of crops; the first of the gallery otherwise", metavar="ID...")
    ] = None,
    camera: Cameras = None,
    modality: OfModality = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    tracklet: Tracklets = None,
    pid: Pids = None,
    limit: Annotated[int, typer.Option(help="Most crops", min=1)] = SHOWN,
    audit: Annotated[bool, typer.Option("--audit", help="Show what was done with it instead")] = False,
    json: Json = False,
) -> None:
    """Show crops, or the audit: who searched for what purpose, what was added, deleted and erased."""
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery.opening import open_store

    store = open_store(gallery)
    console = Terminal()
    if audit:
        for row in store.audit(last=limit):
            values = {
                "number": row.number, "time": row.time.isoformat(), "action": row.action,
                "purpose": row.purpose, **row.detail,
            }  # fmt: skip
            console.print(json_text.dumps(values))
        store.close()
        return
    where = the_filter(
        cameras=camera,
        modality=modality,
        start=start,
        stop=stop,
        zone=zone,
        tracklets=tracklet,
        pids=pid,
        ids=ids,
    )
    crops, _, _ = next(store.iterate(where, batch=limit), ((), None, ()))
    store.close()
    if missing := set(ids or ()) - {crop.id for crop in crops}:
        raise UsageError(f"{shown_address(gallery)} has no crop {sorted(missing)[0]}")
    if json:
        console.print(json_text.dumps([crop.to_json() for crop in crops], indent=1))
        return
    for crop in crops:
        more = [f"tracklet {crop.tracklet}"] if crop.tracklet else []
        more += [f"pid {crop.pid}"] if crop.pid >= 0 else []
        words = [crop.id, crop.camera, crop.time.isoformat(), crop.modality.value, *more, crop.source]
        console.print("  ".join(words))


@app.command()
def verify(gallery: Address, json: Json = False) -> None:
    """Compare every row, vector and picture with what was written, and the cache byte by byte.

    Exit status: 0 no problem, 1 problems found.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery.opening import open_store

    store = open_store(gallery)
    with progress_bar("Verifying") as tick:
        report = store.verify(progress=tick)
    store.close()
    console = Terminal()
    if json:
        values = {"crops": report.crops, "problems": list(report.problems), "notes": list(report.notes)}
        console.print(json_text.dumps(values, indent=1))
    else:
        for line in (*report.problems, *report.notes):
            console.print(line)
        console.print(
            f"{report.crops:,} crop(s), {len(report.problems):,} problem(s) in {shown_address(gallery)}"
        )
    if report.problems:
        raise typer.Exit(1)


for _verb in (delete, erase, expire, export, copy, index):
    app.command()(_verb)
