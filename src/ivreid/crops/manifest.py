"""Writes crops and the table that lists them; the table comes last, so that where it is, all is there."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from PIL import Image

from ivreid.crops.boxes import Box
from ivreid.crops.frames import Frames
from ivreid.io import atomic_write, starting_with, write_text
from ivreid.types import Modality, Progress

COLUMNS = ("path", "camera", "time", "modality", "tracklet", "quality", "source")
MANIFEST = starting_with("crops", ".csv", ",".join(COLUMNS).encode())
CROPS = "crops"
_NAME = re.compile(r"[0-9]{8,}-[0-9]{3,}\.png")


@dataclass(frozen=True, slots=True)
class Cut:
    """A crop to be made.

    Attributes:
        box: By which box.
        place: The frame's place, from 0.
        number: The box's place in its frame, from 0.
        seconds: From the first frame.
        quality: 0 to 1.
    """

    box: Box
    place: int
    number: int
    seconds: float
    quality: float


class Steps:
    """Counts frames over both passes."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self._progress = 0, total, progress

    def step(self) -> None:
        """One more."""
        self.done += 1
        self._tell()

    def finish(self) -> None:
        """All of them: the second pass needs fewer where few crops are kept."""
        self.done = self.total
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.done, self.total)


def whole_edges(box: Box, pad: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole pixels of the padded box within a frame of (width, height); right and bottom are outside."""
    across, down = pad * box.width, pad * box.height
    left, top = max(0, math.floor(box.left - across)), max(0, math.floor(box.top - down))
    right, bottom = min(size[0], math.ceil(box.right + across)), min(size[1], math.ceil(box.bottom + down))
    return left, top, right, bottom


def write_crops(
    frames: Frames,
    chosen: Collection[Cut],
    manifest: Path,
    pad: float,
    told: tuple[str, datetime, Modality],
    steps: Steps,
) -> list[dict[str, str]]:
    """Write the crops beside a manifest, then the manifest; crops of an earlier one are removed.

    Args:
        frames: Where to cut.
        chosen: What to cut, in the order of frames.
        manifest: The table to write.
        pad: Share of its size that a box grows by on every side.
        told: Camera, time of the first frame, modality.
        steps: Counts the frames.

    Returns:
        The table's rows.
    """
    rows = list(_written(frames, chosen, manifest.parent, pad, told, steps))
    write_text(manifest, _table(rows))
    names = {row["path"] for row in rows}
    if (manifest.parent / CROPS).is_dir():
        for file in (manifest.parent / CROPS).iterdir():
            if _NAME.fullmatch(file.name) and f"{CROPS}/{file.name}" not in names:
                file.unlink()
    steps.finish()
    return rows


def _written(
    frames: Frames,
    chosen: Collection[Cut],
    out: Path,
    pad: float,
    told: tuple[str, datetime, Modality],
    steps: Steps,
) -> Iterator[dict[str, str]]:
    camera, began, modality = told
    at: dict[int, list[Cut]] = {}
    for cut in chosen:
        at.setdefault(cut.place, []).append(cut)
    for place, image, _ in frames.read(at):
        for cut in at[place]:
            edges = whole_edges(cut.box, pad, image.size)
            name = f"{CROPS}/{place + 1:08d}-{cut.number + 1:03d}.png"
            _save(image.crop(edges), out / name)
            left, top, right, bottom = edges
            source = f"{frames.source(place)}"
            joint = "&" if "#" in source else "#"
            track = cut.box.tracklet
            yield {
                "path": name,
                "camera": camera,
                "time": (began + timedelta(seconds=cut.seconds)).isoformat(),
                "modality": modality.value,
                "tracklet": "" if track is None else f"{camera}/{began:%Y%m%dT%H%M%S%z}/{track}",
                "quality": f"{cut.quality:.4f}",
                "source": f"{source}{joint}xywh={left},{top},{right - left},{bottom - top}",
            }
        steps.step()


def _save(crop: Image.Image, path: Path) -> None:
    with atomic_write(path) as file:
        crop.save(file, format="PNG")


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
