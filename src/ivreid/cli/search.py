"""`ivreid search`: find the person of some pictures in a gallery."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli import search_options as the
from ivreid.cli.gallery_options import (
    Address,
    Cameras,
    Device,
    From,
    OtherWeights,
    To,
    Topology,
    Zone,
    the_filter,
)


def run(
    gallery: Address,
    queries: the.Queries = None,
    features: the.Features = None,
    rows: the.Rows = None,
    modality: the.QueryModality = None,
    gallery_modality: the.GalleryModality = None,
    camera: Cameras = None,
    start: From = None,
    stop: To = None,
    zone: Zone = None,
    exclude_same_camera: the.OtherCameras = False,
    query_camera: the.QueryCamera = None,
    query_time: the.QueryTime = None,
    topology: Topology = None,
    travel_gate: the.TravelGate = False,
    k: Annotated[int, typer.Option(help="Hits a query", min=1)] = 10,
    fuse: the.Fuse = None,
    by: the.By = None,
    purpose: the.Purpose = "",
    model: OtherWeights = None,
    json: the.JsonAnswer = False,
    csv: the.CsvAnswer = False,
    html: the.Page = None,
    allow_partial: the.Partial = False,
    device: Device = "auto",
) -> None:
    """Find the people of some pictures in a gallery.

    The distance is 1 - cosine. A decision is what a calibration for searches says of it, for as many crops as
    really were searched; without one it is "not calibrated". Nearest is not same: a person decides.
    """
    from ivreid.cli.answer_text import answer_csv, answer_lines
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery import Gallery, named_queries
    from ivreid.gallery.topology import read_topology
    from ivreid.io import check_output
    from ivreid.report.search_page import PAGE, write_search_page

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
        given = [one for one in (*queries, features) if one is not None and Path(one).exists()]
        check_output(html, PAGE, inputs=given)
    with Gallery.open(gallery, model=model, allow_partial=allow_partial, device=device) as opened:
        asked = named_queries(
            opened,
            queries,
            features=features,
            rows=rows,
            modality=modality,
            camera=query_camera,
            time=query_time,
            other_cameras=exclude_same_camera,
        )
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
            console.print(answer_csv(answer), end="")
        else:
            for line in answer_lines(answer):
                console.print(line)
        if html is not None:
            write_search_page(html, answer, opened.store, opened.model.preprocessing.value_range)
            notices.print(f"page -> {html}")
