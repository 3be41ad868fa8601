"""`ivreid search`: find the person of some pictures in a gallery."""

from __future__ import annotations

import json as json_text
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.gallery_options import Address, Cameras, Device, From, To, Zone, the_filter
from ivreid.types import Modality

if TYPE_CHECKING:
    from ivreid.gallery import Answer, Gallery
    from ivreid.gallery.answer import Match
    from ivreid.gallery.searching import Query


def run(
    gallery: Address,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures, folders of pictures, or ids of crops in the gallery", metavar="QUERY..."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Instead of pictures: embeddings that ivreid embed wrote, by the gallery's own model",
            metavar="F.npz",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="With --features: which rows, from 0 (0,3,7-9); all otherwise", metavar="ROWS"),
    ] = None,
    modality: Annotated[
        Modality | None,
        typer.Option(help="What kind of camera took the queries; of ids it is known; only such --features"),
    ] = None,
    gallery_modality: Annotated[
        Modality | None, typer.Option(help="Only crops of this modality are searched")
    ] = None,
    camera: Cameras = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    exclude_same_camera: Annotated[
        bool,
        typer.Option("--exclude-same-camera", help="Leave out crops of the query's own camera"),
    ] = False,
    query_camera: Annotated[
        str | None,
        typer.Option(
            help="The queries' camera, for --exclude-same-camera; of ids it is known", metavar="NAME"
        ),
    ] = None,
    query_time: Annotated[
        str | None,
        typer.Option(help="When the queries were taken, for --topology; of ids it is known", metavar="TIME"),
    ] = None,
    topology: Annotated[
        Path | None,
        typer.Option(help="Travel times between cameras: says of each hit whether there was time"),
    ] = None,
    travel_gate: Annotated[
        bool, typer.Option("--travel-gate", help="Leave out hits that --topology finds too soon or too late")
    ] = False,
    k: Annotated[int, typer.Option(help="Hits a query", min=1)] = 10,
    fuse: Annotated[
        str | None,
        typer.Option(
            help="All queries show one person: mean (of the vectors) or best (distance)", metavar="HOW"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="What a hit is: crop or tracklet; tracklet where the gallery has any", metavar="UNIT"
        ),
    ] = None,
    purpose: Annotated[str, typer.Option(help="Why, for the gallery's audit", metavar="TEXT")] = "",
    model: Annotated[
        str | None,
        typer.Option(
            help="Weights in place of the gallery's copy, newly calibrated ones; they must compute the same",
            metavar="RUN_DIR|WEIGHTS",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the answer as CSV")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with the pictures", metavar="OUT.html")
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Of a gallery's shards search those that answer, and say which did not"
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Find the people of some pictures in a gallery.

    The distance is 1 - cosine. A decision is what a calibration for searches says of it, for as many crops as
    really were searched; without one it is "not calibrated". Nearest is not same: a person decides.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery import Gallery
    from ivreid.gallery.topology import read_topology
    from ivreid.io import check_output
    from ivreid.report.search_page import PAGE

    if json and csv:
        raise UsageError("--json and --csv are two answers to one question; give one")
    if by not in (None, "crop", "tracklet"):
        raise UsageError(f"a hit is a crop or a tracklet, not {by!r}")
    if travel_gate and topology is None:
        raise UsageError("--travel-gate needs the travel times: --topology FILE.yaml")
    if features is None and (rows is not None or not queries):
        raise UsageError(
            "give pictures or ids to search for, or embeddings: --features F.npz [--rows 0,3,7-9]"
        )
    queries = queries or []
    where = the_filter(cameras=camera, modality=gallery_modality, start=start, stop=stop, zone=zone)
    if html is not None:
        check_output(
            html,
            PAGE,
            inputs=[one for one in (*queries, features) if one is not None and Path(one).exists()],
        )
    with Gallery.open(gallery, model=model, allow_partial=allow_partial, device=device) as opened:
        asked = _asked(opened, queries, modality, query_camera, exclude_same_camera)
        asked += _embedded(opened, features, rows, modality, query_camera, exclude_same_camera)
        asked = _seen(asked, query_camera, query_time)
        answer = opened.search_vectors(
            asked,
            where=where,
            k=k,
            fuse=fuse,
            by_tracklet=None if by is None else by == "tracklet",
            purpose=purpose,
            topology=None if topology is None else read_topology(topology),
            travel_gate=travel_gate,
        )
        console, notices = Terminal(), Terminal(stderr=True)
        for note in answer.notes:
            notices.print(note)
        if json:
            console.print(json_text.dumps(answer.to_json(), indent=1))
        elif csv:
            console.print(_csv(answer), end="")
        else:
            _print(console, answer)
        if html is not None:
            _write_page(html, opened, answer, queries)
            notices.print(f"page -> {html}")


def _asked(
    gallery: Gallery, queries: list[str], modality: Modality | None, camera: str | None, other_cameras: bool
) -> list[Query]:
    """The queries: first those that are pictures, then those that are crops of the gallery."""
    from ivreid.errors import UsageError

    ids = [one for one in queries if re.fullmatch(r"[0-9a-f]{32}", one) and not Path(one).exists()]
    files = _files([one for one in queries if one not in ids])
    if files and modality is None:
        raise UsageError("say what kind of camera took the pictures: --modality infrared or visible")
    if files and other_cameras and camera is None:
        raise UsageError("--exclude-same-camera needs the pictures' camera: --query-camera NAME")
    asked = []
    if files:
        assert modality is not None
        own = [camera if other_cameras else None] * len(files)
        asked = gallery.queries(files, modality, cameras=own)
    return asked + (gallery.known_queries(ids, other_cameras=other_cameras) if ids else [])


def _embedded(
    gallery: Gallery,
    features: Path | None,
    rows: str | None,
    modality: Modality | None,
    camera: str | None,
    other_cameras: bool,
) -> list[Query]:
    """The queries among the embeddings of a file."""
    from ivreid.errors import UsageError
    from ivreid.gallery.vector_queries import feature_queries

    if features is None:
        return []
    if other_cameras and camera is None:
        raise UsageError("--exclude-same-camera needs the embeddings' camera: --query-camera NAME")
    own = camera if other_cameras else None
    return feature_queries(features, gallery.store.binding, rows=rows, modality=modality, camera=own)


def _seen(asked: list[Query], camera: str | None, time: str | None) -> list[Query]:
    """Pictures with the place and time that were given for them; crops of the gallery have their own."""
    from dataclasses import replace

    from ivreid.gallery.patterns import parse_time
    from ivreid.gallery.record import checked_time
    from ivreid.gallery.topology import Sighting

    if camera is None or time is None:
        return asked
    sighting = Sighting(camera, checked_time(parse_time(time, where="--query-time"), "--query-time"))
    return [query if query.sighting is not None else replace(query, sighting=sighting) for query in asked]


def _files(queries: list[str]) -> list[str]:
    from ivreid.datasets.found_pictures import find_pictures
    from ivreid.paths import user_path

    files = []
    for one in queries:
        path = user_path(one)
        files += [str(path / file) for file in find_pictures(path).files] if path.is_dir() else [str(path)]
    return files


def _print(console: object, answer: Answer) -> None:
    from ivreid.cli.terminal import Terminal

    assert isinstance(console, Terminal)
    if answer.approximate is not None:
        console.print(str(answer.approximate))
    for one in answer.results:
        unit = f" in {one.units:,} tracklets" if answer.by_tracklet else ""
        console.print(f"{one.query}: {len(one.hits)} of {one.searched:,} crops searched{unit}")
        for rank, hit in enumerate(one.hits, start=1):
            crop = hit.crop
            track = f"  tracklet {crop.tracklet}" if crop.tracklet else ""
            console.print(
                f"{rank:>4}  {hit.distance:.4f}  {_word(hit)}  {crop.camera}  {crop.time.isoformat()}  "
                f"{crop.modality}{track}  {crop.source}  {crop.id}"
                + ("" if hit.travel is None else f"  [{hit.travel.why}]")
            )
        whys = {hit.decision.why for hit in one.hits if hit.decision.low is None}
        for why in sorted(whys):
            console.print(f"      {why}")
    console.print("nearest is not same: a person decides")


def _word(hit: Match) -> str:
    """The decision with the interval of its rate."""
    said = hit.decision
    return said.decision if said.low is None else f"{said.decision} ({said.low:.2%} to {said.high:.2%})"


def _csv(answer: Answer) -> str:
    from ivreid.io import csv_text

    names = ("query", "rank", "id", "distance", "camera", "time", "modality", "source", "decision")
    caveats: dict[str, object] = {}  # columns only where an answer is not exact or not whole
    if answer.approximate is not None:
        caveats["index_recall"] = answer.approximate.recall
    if answer.partial:
        caveats["partial"] = " ".join(answer.partial)
    rows: list[list[object]] = [[*names, "searched", "low", "high", "travel", *caveats]]
    for one in answer.results:
        for rank, hit in enumerate(one.hits, start=1):
            values = {"query": one.query, "rank": rank, **hit.to_json()}
            travel = "" if hit.travel is None else hit.travel.why
            more = (one.searched, hit.decision.low, hit.decision.high, travel)
            rows.append([*(values[name] for name in names), *more, *caveats.values()])
    return csv_text(rows)


def _write_page(out: Path, gallery: Gallery, answer: Answer, queries: list[str]) -> None:
    from ivreid.io import write_text
    from ivreid.report.search_page import ShownHit, ShownQuery, search_page

    shown = []
    for one in answer.results:
        hits = [
            ShownHit(
                picture=gallery.store.picture(hit.crop.address),
                distance=hit.distance,
                decision=hit.decision.decision,
                why=hit.decision.why + ("" if hit.travel is None else f"; travel: {hit.travel.why}"),
                camera=hit.crop.camera,
                time=hit.crop.time.isoformat(),
                modality=hit.crop.modality.value,
                tracklet=hit.crop.tracklet or "",
            )
            for hit in one.hits
        ]
        shown.append(ShownQuery(one.query, _query_pictures(gallery, one.query), one.searched, hits))
    notes = [*([] if answer.approximate is None else [str(answer.approximate)]), *answer.notes]
    write_text(out, search_page(f"Search in {gallery.store.address}", shown, notes))


def _query_pictures(gallery: Gallery, name: str) -> list[bytes]:
    from ivreid.errors import ImageError
    from ivreid.gallery.pictures import encoded
    from ivreid.io import read_image

    out = []
    for part in name.split(" + "):
        crop = gallery.store.get([part]).get(part)
        try:
            picture = (
                encoded(read_image(part, gallery.model.preprocessing.value_range))
                if crop is None
                else gallery.store.picture(crop.address)
            )
        except ImageError:
            continue
        out += [picture] if picture else []
    return out
