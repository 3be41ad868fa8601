"""`ivreid gallery index`: an index over a gallery in PostgreSQL, with its measured recall."""

from __future__ import annotations

import json as json_text
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Json
from ivreid.reading import shown_address


def index(
    gallery: Address,
    hnsw: Annotated[
        bool, typer.Option("--hnsw", help="Make one, and measure how many of the nearest crops it finds")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure it anew, after crops have come or with another --ef")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove it: every search is exact again")] = False,
    ef: Annotated[
        int | None,
        typer.Option(help="Candidates a search keeps, 1 to 1000 (200): more find more, and take longer"),
    ] = None,
    json: Json = False,
) -> None:
    """Say whether searches of a gallery in PostgreSQL are exact, or give it an index (HNSW) that is not.

    Without one every search is exact, which is the default. With one each answer tells the measured recall.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery.opening import indexed_store

    if hnsw + measure + drop > 1:
        raise UsageError("--hnsw, --measure and --drop are three steps; give one")
    if ef is not None and not (hnsw or measure):
        raise UsageError("--ef belongs to --hnsw or --measure")
    store = indexed_store(gallery)
    try:
        if drop:
            store.drop_index()
        elif hnsw or measure:
            (store.build_index if hnsw else store.measure_index)(ef)
        found = store.index()
    finally:
        store.close()
    console = Terminal()
    if json:
        console.print(json_text.dumps({"approximate": None if found is None else found.to_json()}, indent=1))
    elif found is None:
        console.print(f"no index: every search of {shown_address(gallery)} is exact")
    else:
        console.print(
            f"{found.index}, ef {found.ef}: it found {found.recall:.2%} of the nearest when measured on "
            f"{found.measured:%Y-%m-%d} with {found.sample:,} of then {found.crops:,} crops"
        )
