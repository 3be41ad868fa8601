"""Queries as people name them: pictures, folders, ids of crops in the gallery, rows of a features file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import UsageError
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.patterns import parse_time
from ivreid.gallery.record import checked_time
from ivreid.gallery.searching import Query
from ivreid.gallery.topology import Sighting
from ivreid.gallery.vector_queries import feature_queries
from ivreid.inference.path_labels import modalities_said
from ivreid.paths import user_path
from ivreid.types import Modality


def named_queries(
    gallery: Gallery,
    names: Sequence[Path | str] = (),
    *,
    features: Path | str | None = None,
    rows: str | None = None,
    modality: Modality | str | None = None,
    camera: str | None = None,
    time: datetime | str | None = None,
    other_cameras: bool = False,
) -> list[Query]:
    """Queries for `Gallery.search_vectors`: first those that are pictures, then crops of the gallery, then embeddings.

    Args:
        gallery: Where is searched; its model embeds the pictures.
        names: Pictures, folders of pictures, or ids of crops in the gallery.
        features: A features file that `ivreid embed` wrote, by the gallery's own model.
        rows: Which of its rows, from 0: "0,3,7-9"; None takes all.
        modality: What kind of camera took the pictures, where neither a dataset's layout nor a folder's name says it; of
            `features` only such rows.
        camera: Which camera took the pictures and those behind `features`; crops of the gallery have their own.
        time: When they were taken, with its zone, for travel times; likewise.
        other_cameras: Leave out crops of a query's own camera.

    Raises:
        UsageError: Pictures without a modality, or of both, no camera to leave out, or ids and rows that are not there.
        ImageError: Pictures that cannot be read.
        CheckpointError: Embeddings by other weights than the gallery's.
        DataError: A folder or features file that cannot be used, or a time that is none or has no zone.
    """
    kind = None if modality is None else Modality(modality)
    words = [str(name) for name in names]
    ids = [word for word in words if re.fullmatch(r"[0-9a-f]{32}", word) and not Path(word).exists()]
    said = _pictures([word for word in words if word not in ids])
    files = [file for file, _ in said]
    left_out = camera if other_cameras else None
    asked: list[Query] = []
    if files:
        theirs = kind or _modality_said(said)
        if other_cameras and camera is None:
            raise UsageError("--exclude-same-camera needs the pictures' camera: --query-camera NAME")
        asked += gallery.queries(files, theirs, cameras=[left_out] * len(files))
    if ids:
        asked += gallery.known_queries(ids, other_cameras=other_cameras)
    if features is not None:
        if other_cameras and camera is None:
            raise UsageError("--exclude-same-camera needs the embeddings' camera: --query-camera NAME")
        bound = gallery.store.binding
        asked += feature_queries(features, bound, rows=rows, modality=kind, camera=left_out)
    if camera is None or time is None:
        return asked
    when = parse_time(time, where="--query-time") if isinstance(time, str) else time
    sighting = Sighting(camera, checked_time(when, "--query-time"))
    return [query if query.sighting is not None else replace(query, sighting=sighting) for query in asked]


def _pictures(names: Sequence[str]) -> list[tuple[str, Modality | None]]:
    """The pictures, one named twice twice, and of each the modality that its folders say, as when it is added."""
    said: list[tuple[str, Modality | None]] = []
    for name in names:
        path = user_path(name)
        if path.is_dir():
            found = find_pictures(path)
            told = modalities_said(path, found.files, found.layouts)
            said += [(str(path / file), told[file]) for file in found.files]
        else:
            said.append((str(path), modalities_said(path.parent, (path.name,), {})[path.name]))
    return said


def _modality_said(said: Sequence[tuple[str, Modality | None]]) -> Modality:
    """The one modality of all pictures.

    Raises:
        UsageError: Nothing says it of one, or they are of both.
    """
    way_out = "say what kind of camera took the pictures: --modality infrared or visible"
    unknown = next((file for file, found in said if found is None), None)
    if unknown is not None:
        raise UsageError(f"{way_out}; no folder says it of {unknown}")
    first, *others = {found: file for file, found in said if found is not None}.items()
    if others:
        raise UsageError(
            f"{first[1]} is {first[0].value} and {others[0][1]} is {others[0][0].value} by their folders; search for the "
            "pictures of one modality at a time"
        )
    return first[0]
