"""Options that several verbs of a gallery share, and what they mean."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.types import Modality

if TYPE_CHECKING:
    from ivreid.gallery import Where

Address = Annotated[str, typer.Argument(help="The gallery: a folder, or postgresql://...", metavar="GALLERY")]
Cameras = Annotated[
    list[str] | None, typer.Option("--camera", help="Only this camera; repeatable", metavar="NAME")
]
From = Annotated[
    str | None, typer.Option("--from", help="Only from this time on: 2026-03-01T22:00+01:00", metavar="TIME")
]
To = Annotated[str | None, typer.Option("--to", help="Only before this time", metavar="TIME")]
Zone = Annotated[
    str | None,
    typer.Option(help="Of times without one: Europe/Berlin, UTC, +02:00", metavar="ZONE"),
]
Tracklets = Annotated[
    list[str] | None, typer.Option("--tracklet", help="Only this tracklet; repeatable", metavar="NAME")
]
Pids = Annotated[list[int] | None, typer.Option("--pid", help="Only this person; repeatable", metavar="PID")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this crop; repeatable", metavar="ID")]
OfModality = Annotated[Modality | None, typer.Option("--modality", help="Only crops of this modality")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of text")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
BatchSize = Annotated[int, typer.Option(help="Pictures per batch: speed and memory only", min=1)]
Topology = Annotated[
    Path | None,
    typer.Option(help="Travel times between cameras: says of each hit whether there was time"),
]
OtherWeights = Annotated[
    str | None,
    typer.Option(
        help="Weights in place of the gallery's copy, newly calibrated ones; they must compute the same",
        metavar="RUN_DIR|WEIGHTS",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Decoding threads; chosen by the cores otherwise")]


def the_zone(text: str | None) -> tzinfo | None:
    """The zone of an option."""
    from ivreid.gallery.patterns import parse_zone

    return None if text is None else parse_zone(text)


def the_time(text: str | None, zone: tzinfo | None) -> datetime | None:
    """The time of an option, in the zone where it names none."""
    from ivreid.gallery.intake import with_zone
    from ivreid.gallery.patterns import parse_time

    return None if text is None else with_zone(parse_time(text), zone)


def the_filter(
    *,
    cameras: list[str] | None = None,
    modality: Modality | None = None,
    start: str | None = None,
    stop: str | None = None,
    zone: str | None = None,
    tracklets: list[str] | None = None,
    pids: list[int] | None = None,
    ids: list[str] | None = None,
) -> Where:
    """The filter that options say."""
    from ivreid.gallery import Where

    tz = the_zone(zone)
    return Where(
        cameras=frozenset(cameras) if cameras else None,
        modality=modality,
        start=the_time(start, tz),
        stop=the_time(stop, tz),
        tracklets=frozenset(tracklets) if tracklets else None,
        pids=frozenset(pids) if pids else None,
        ids=frozenset(ids) if ids else None,
    )


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
