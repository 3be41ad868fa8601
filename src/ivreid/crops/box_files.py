"""Files of boxes: COCO JSON (annotations or detections), MOTChallenge text, CSV with a header."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivreid.crops.boxes import Box, tracklet_name
from ivreid.errors import DataError, UsageError
from ivreid.reading import clean, read_json, read_text

FORMATS = ("coco", "mot", "csv")
_PEOPLE = ("person", "people", "pedestrian")
_CORNERS, _SIZES = ("left", "top", "right", "bottom"), ("left", "top", "width", "height")
_CALLED = {
    **dict.fromkeys(("left", "x", "x1", "xmin", "bb_left"), "left"),
    **dict.fromkeys(("top", "y", "y1", "ymin", "bb_top"), "top"),
    **dict.fromkeys(("right", "x2", "xmax"), "right"),
    **dict.fromkeys(("bottom", "y2", "ymax"), "bottom"),
    **dict.fromkeys(("width", "w", "bb_width"), "width"),
    **dict.fromkeys(("height", "h", "bb_height"), "height"),
    **dict.fromkeys(("frame", "frame_id", "image", "file_name"), "frame"),
    **dict.fromkeys(("confidence", "conf", "score"), "confidence"),
    **dict.fromkeys(("tracklet", "track", "track_id", "tracker_id", "id"), "tracklet"),
}
_MAX_LINE = 1 << 16


@dataclass(frozen=True)
class BoxFile:
    """What a file of boxes holds.

    Attributes:
        boxes: In the order of the file.
        notes: What was left out, and why.
    """

    boxes: list[Box]
    notes: list[str] = field(default_factory=list)


def read_boxes(path: Path | str, form: str | None = None, category: int | None = None) -> BoxFile:
    """Read a file of boxes.

    Args:
        path: COCO JSON, MOTChallenge text or CSV.
        form: "coco", "mot" or "csv"; None takes the suffix: .json, .txt, and .csv, which is MOT's without a header.
        category: COCO: the number of the people's category, where the file does not name it.

    Raises:
        UsageError: An unknown form, or categories of which none is named person.
        DataError: A file that is none; the message names the line or entry.
    """
    path = Path(path)
    known = {".json": "coco", ".txt": "mot", ".csv": "csv"}
    form = form or known.get(path.suffix.lower())
    if form not in FORMATS:
        raise UsageError(
            f"{path}: boxes stand in COCO JSON (.json), MOTChallenge text (.txt) or CSV (.csv); say which with --format"
        )
    if form == "coco":
        return _coco(path, category)
    text = read_text(path)
    lines = [line[:_MAX_LINE] for line in text.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    if form == "mot" or (form == "csv" and _is_number(first.split(",")[0])):
        return _mot(path, lines)
    return BoxFile(list(_csv(path, lines)))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(text: Any, where: str, what: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {what} is {clean(repr(text), 60)}, no number") from None


def _frame(value: Any, where: str) -> int | str:
    """A frame's number where it is one, else its file's name."""
    text = str(value).strip()
    if text.isdigit() and len(text) < 16:
        return int(text)
    if _is_number(text) and float(text) == int(float(text)) >= 0:
        return int(float(text))
    if not text or not text.isprintable():
        raise DataError(f"{where}: {clean(text, 60)!r} is neither a frame's number nor a file's name")
    return text


def _mot(path: Path, lines: list[str]) -> BoxFile:
    boxes, left_out = [], 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where, cells = f"{path}, line {number}", line.replace(",", " ").split()
        if len(cells) < 6:
            raise DataError(
                f"{where}: {len(cells)} values; MOTChallenge lines have frame,id,left,top,width,height,..."
            )
        values = [_number(cell, where, f"value {i}") for i, cell in enumerate(cells[:10], start=1)]
        # ground truth has nine values: a flag (0: not to be counted), a class (1: pedestrian), a visibility
        if len(cells) == 9 and (values[6] == 0 or values[7] != 1):
            left_out += 1
            continue
        frame, _, left, top, width, height = values[:6]
        if frame != int(frame) or frame < 0:
            raise DataError(f"{where}: frame {cells[0]} is no frame's number")
        confidence = values[6] if len(cells) > 6 and len(cells) != 9 and values[6] >= 0 else None
        track = tracklet_name(cells[1], where)
        boxes.append(Box(int(frame), left, top, left + width, top + height, confidence, track, where))
    notes = (
        [f"{left_out:,} boxes of {path} are marked as no pedestrian to count; left out"] if left_out else []
    )
    return BoxFile(boxes, notes)


def _csv(path: Path, lines: list[str]) -> Iterator[Box]:
    rows = csv.reader(lines)
    header = [cell.strip().lower() for cell in next(rows, [])]
    names = [_CALLED.get(cell, cell) for cell in header]
    edges = _CORNERS if {"right", "bottom"} <= set(names) else _SIZES
    for wanted in ("frame", *edges):
        if names.count(wanted) != 1:
            raise DataError(
                f"{path}: the header needs one column `{wanted}` ({'frame, ' + ', '.join(_CORNERS)}, or width and height "
                f"for the last two); it has {clean(', '.join(header)) or 'nothing'}"
            )
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}, line {rows.line_num}"
        if len(row) < len(names):
            raise DataError(f"{where}: {len(row)} cells for {len(names)} columns")
        cells = dict(zip(names, row, strict=False))
        left, top, third, fourth = (_number(cells[name], where, name) for name in edges)
        if edges is _SIZES:
            third, fourth = left + third, top + fourth
        score = cells.get("confidence", "").strip()
        yield Box(
            _frame(cells["frame"], where),
            *(left, top, third, fourth),
            confidence=_number(score, where, "confidence") if score else None,
            tracklet=tracklet_name(cells.get("tracklet", ""), where),
            where=where,
        )


def _coco(path: Path, category: int | None) -> BoxFile:
    value = read_json(path)
    if isinstance(value, list):  # detections: no names of images, no names of categories
        entries, names, categories = value, {}, {}
    elif isinstance(value, dict) and isinstance(value.get("annotations"), list):
        entries = value["annotations"]
        names = {
            one["id"]: one.get("file_name")
            for one in _objects(path, value.get("images"), "images")
            if "id" in one
        }
        categories = {
            one.get("id"): str(one.get("name"))
            for one in _objects(path, value.get("categories"), "categories")
        }
    else:
        raise DataError(f"{path} is no COCO file: it holds neither `annotations` nor a list of detections")
    people = _people(path, entries, categories, category)
    boxes, others, crowds = [], 0, 0
    for number, one in enumerate(_objects(path, entries, "annotations"), start=1):
        where = f"{path}, box {number}"
        if people is not None and one.get("category_id") not in people:
            others += 1
        elif one.get("iscrowd") == 1:
            crowds += 1
        else:
            boxes.append(_coco_box(one, names, where))
    notes = [f"{others:,} boxes of {path} show no person; left out"] if others else []
    if crowds:
        notes.append(f"{crowds:,} boxes of {path} show crowds; left out")
    return BoxFile(boxes, notes)


def _objects(path: Path, value: Any, what: str) -> list[Mapping[str, Any]]:
    entries = [] if value is None else value
    if not isinstance(entries, list) or not all(isinstance(one, Mapping) for one in entries):
        raise DataError(f"{path}: `{what}` is no list of objects")
    return entries


def _people(
    path: Path, entries: list[Any], categories: dict[Any, str], category: int | None
) -> set[Any] | None:
    """Numbers of the categories that are people; None takes every box."""
    there = {one.get("category_id") for one in _objects(path, entries, "annotations")}
    if category is not None:
        if category not in there:
            known = ", ".join(sorted(map(str, there)))
            raise UsageError(f"{path} has no box of category {category}; it has {clean(known)}")
        return {category}
    named = {number for number, name in categories.items() if name.strip().lower() in _PEOPLE}
    if named:
        return named
    if len(there) <= 1 and not categories:
        return None
    listed = ", ".join(f"{number} {name}" for number, name in categories.items()) or ", ".join(
        sorted(map(str, there))
    )
    raise UsageError(f"{path}: which category are people? It has {clean(listed)}; say --category N")


def _coco_box(one: Mapping[str, Any], names: Mapping[Any, Any], where: str) -> Box:
    edges = one.get("bbox")
    if not isinstance(edges, list) or len(edges) != 4:
        raise DataError(f"{where}: `bbox` is {clean(repr(edges), 60)}; it must be [left, top, width, height]")
    left, top, width, height = (_number(edge, where, "bbox") for edge in edges)
    image = one.get("image_id")
    if names and (not isinstance(image, int | str) or image not in names):
        raise DataError(f"{where}: image_id {clean(repr(image), 60)} stands in no entry of `images`")
    extra = one.get("attributes")
    track = one.get("track_id", extra.get("track_id") if isinstance(extra, Mapping) else None)
    score = one.get("score")
    return Box(
        _frame(names.get(image) if names else image, where),
        *(left, top, left + width, top + height),
        confidence=None if score is None else _number(score, where, "score"),
        tracklet=None if track is None else tracklet_name(track, where),
        where=where,
    )
