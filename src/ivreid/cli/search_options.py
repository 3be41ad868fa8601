"""What `ivreid search` can be asked: whom to search for, how hits are counted, and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.types import Modality

Queries = Annotated[
    list[str] | None,
    typer.Argument(help="Pictures, folders of pictures, or ids of crops in the gallery", metavar="QUERY"),
]
Features = Annotated[
    Path | None,
    typer.Option(
        help="Instead of pictures: embeddings that ivreid embed wrote, by the gallery's own model",
        metavar="F.npz",
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(help="With --features: which rows, from 0 (0,3,7-9); all otherwise", metavar="ROWS"),
]
QueryModality = Annotated[
    Modality | None,
    typer.Option(
        help="What kind of camera took the queries; of ids, and of pictures in folders that say it, it is known; only such "
        "--features"
    ),
]
GalleryModality = Annotated[Modality | None, typer.Option(help="Only crops of this modality are searched")]
OtherCameras = Annotated[
    bool, typer.Option("--exclude-same-camera", help="Leave out crops of the query's own camera")
]
QueryCamera = Annotated[
    str | None,
    typer.Option(help="The queries' camera, for --exclude-same-camera; of ids it is known", metavar="NAME"),
]
QueryTime = Annotated[
    str | None,
    typer.Option(help="When the queries were taken, for --topology; of ids it is known", metavar="TIME"),
]
TravelGate = Annotated[
    bool, typer.Option("--travel-gate", help="Leave out hits that --topology finds too soon or too late")
]
Fuse = Annotated[
    str | None,
    typer.Option(help="All queries show one person: mean (of the vectors) or best (distance)", metavar="HOW"),
]
By = Annotated[
    str | None,
    typer.Option(help="What a hit is: crop or tracklet; tracklet where the gallery has any", metavar="UNIT"),
]
Purpose = Annotated[str, typer.Option(help="Why, for the gallery's audit", metavar="TEXT")]
JsonAnswer = Annotated[bool, typer.Option("--json", help="Print the answer as JSON")]
CsvAnswer = Annotated[bool, typer.Option("--csv", help="Print the answer as CSV")]
Page = Annotated[
    Path | None, typer.Option("--html", help="Also write a page with the pictures", metavar="OUT.html")
]
Partial = Annotated[
    bool,
    typer.Option(
        "--allow-partial", help="Of a gallery's shards search those that answer, and say which did not"
    ),
]
