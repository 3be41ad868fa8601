"""Boxes around people, as detectors and trackers give them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivreid.errors import DataError
from ivreid.reading import clean
from ivreid.types import as_array

LONGEST_NAME = 200
LARGEST = 1e6
"""Pixels: no frame is wider."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box in one frame.

    Attributes:
        frame: The frame's number, or its file's name.
        left, top, right, bottom: Edges in pixels from the frame's upper left corner; they may lie outside.
        confidence: The detector's, or None.
        tracklet: The tracker's name for the person, or None.
        where: Where it was read, for messages.
    """

    frame: int | str
    left: float
    top: float
    right: float
    bottom: float
    confidence: float | None = None
    tracklet: str | None = None
    where: str = ""

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top

    def fault(self) -> str:
        """Why nothing can be cut out by it, whatever the frame; empty where something can."""
        edges = (self.left, self.top, self.right, self.bottom)
        if not all(math.isfinite(edge) and abs(edge) <= LARGEST for edge in edges):
            return f"{self.where}: an edge is no number of pixels: {', '.join(f'{edge:g}' for edge in edges)}"
        if self.width <= 0 or self.height <= 0:
            return f"{self.where}: {self.width:g} x {self.height:g} pixels have no area"
        return ""


def boxes_of(detections: Any, frame: int | str) -> list[Box]:
    """The boxes of one frame, from any object with `.xyxy`, such as a detector's or tracker's result.

    Args:
        detections: `.xyxy` holds (N, 4) left, top, right, bottom; `.confidence` and `.tracker_id`, where they are
            there and not None, N values. Arrays, lists or tensors.
        frame: The frame's number, or its file's name.

    Raises:
        DataError: Something else.
    """
    if not hasattr(detections, "xyxy"):
        raise DataError(f"boxes of frame {frame} are a {type(detections).__name__} without `.xyxy`")
    edges = np.asarray(as_array(detections.xyxy, f"xyxy of frame {frame}"), dtype=np.float64)
    if edges.size == 0:
        return []
    if edges.ndim != 2 or edges.shape[1] != 4:
        raise DataError(f"`xyxy` of frame {frame} must have shape (boxes, 4), it has {edges.shape}")
    confidence = _column(detections, "confidence", len(edges), frame)
    tracks = _column(detections, "tracker_id", len(edges), frame)
    found = []
    for i, (left, top, right, bottom) in enumerate(edges.tolist()):
        where = f"frame {frame}, box {i + 1}"
        score = None if confidence is None else float(confidence[i])
        track = None if tracks is None else tracklet_name(tracks[i], where)
        found.append(Box(frame, left, top, right, bottom, score, track, where))
    return found


def _column(detections: Any, name: str, count: int, frame: int | str) -> Any:
    values = getattr(detections, name, None)
    if values is None:
        return None
    found = as_array(values, f"{name} of frame {frame}")
    if found.shape != (count,):
        raise DataError(f"`{name}` of frame {frame} has shape {found.shape}; {count} boxes need ({count},)")
    return found


def tracklet_name(value: Any, where: str) -> str | None:
    """A track's name from a number or a word; None where it stands for no track (empty, or below 0).

    Raises:
        DataError: A name that cannot be kept.
    """
    text = str(value).strip()
    try:
        number = float(text)
        if math.isnan(number) or number < 0:
            return None
        if number == int(number):
            text = str(int(number))
    except (ValueError, OverflowError):
        pass
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise DataError(f"{where}: {clean(text, 60)!r} is no name of a track")
    return text or None


def by_frame(boxes: Iterator[Box]) -> dict[int | str, list[Box]]:
    """The boxes of each frame, frames in the order they come."""
    found: dict[int | str, list[Box]] = {}
    for box in boxes:
        found.setdefault(box.frame, []).append(box)
    return found
