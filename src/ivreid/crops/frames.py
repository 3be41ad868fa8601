"""Frames: a folder of pictures, or a video where its decoder is installed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ivreid.errors import DataError, UsageError
from ivreid.io import OWN_SUFFIXES, REFUSE, ValueRange, read_image
from ivreid.reading import clean

MOST_GAP, MOST_DIGITS = 100, 9
"""Where numbers in names lie further apart on average, or are longer, they are times or the like, and frames are
counted instead."""


class Frames(Protocol):
    """What frames are taken from."""

    name: str

    def places(self, wanted: Collection[int | str], offset: int) -> dict[int | str, int]:
        """Which frame each number or name means, counted from 0.

        Args:
            wanted: Numbers or names.
            offset: Added to numbers first.

        Raises:
            DataError: One is not there.
        """
        ...

    def read(self, places: Collection[int]) -> Iterator[tuple[int, Image.Image, float]]:
        """Place, picture and seconds from the first frame, in their order."""
        ...

    def source(self, place: int) -> str:
        """A name for where the frame is from."""
        ...


def open_frames(path: Path | str, value_range: ValueRange = REFUSE, fps: float | None = None) -> Frames:
    """Open a folder of pictures, or a video.

    Args:
        path: The folder or file.
        value_range: How pictures of more than eight bits become grey.
        fps: Frames a second.

    Raises:
        UsageError: A folder of several frames without `fps`, or a video and no decoder is installed.
        DataError: Neither.
    """
    path = Path(path)
    if path.is_dir():
        return FolderFrames(path, value_range, fps)
    if not path.is_file():
        raise DataError(f"{clean(path)}: no such folder of frames, nor a video")
    if path.suffix.lower() in OWN_SUFFIXES:
        raise DataError(f"{clean(path)} is one picture; give the folder that holds the frames")
    from ivreid.crops.video import VideoFrames

    return VideoFrames(path, fps)


class FolderFrames:
    """The pictures of a folder, in the order of their names with numbers taken as numbers."""

    def __init__(self, path: Path, value_range: ValueRange = REFUSE, fps: float | None = None) -> None:
        self.path, self.name, self._range = path, path.name, value_range
        files = [
            file for file in path.iterdir() if file.suffix.lower() in OWN_SUFFIXES and file.name[0] != "."
        ]
        self.files = sorted((file for file in files if file.is_file()), key=lambda file: _natural(file.name))
        if not self.files:
            raise DataError(f"{clean(path)} holds no frames: no {', '.join(OWN_SUFFIXES)} files")
        numbers = [
            int(found[-1]) if (found := re.findall(r"\d+", file.stem)) else None for file in self.files
        ]
        if fps is None and len(self.files) > 1:
            raise UsageError("a folder of frames does not say how fast they were taken; give --fps")
        self._fps = fps or 1.0
        known = [number for number in numbers if number is not None]
        spread = max(known, default=0) - min(known, default=0)
        numbered = len(set(known)) == len(numbers) and spread < MOST_GAP * len(known)
        numbered = numbered and max(known) < 10**MOST_DIGITS
        self.numbers = known if numbered else list(range(1, len(self.files) + 1))

    def places(self, wanted: Collection[int | str], offset: int = 0) -> dict[int | str, int]:
        """A number is the last one in a file's name, where each has its own, else the file's place from 1."""
        by_number = {number: place for place, number in enumerate(self.numbers)}
        by_name = {file.name: place for place, file in enumerate(self.files)}
        by_stem = {file.stem: place for place, file in enumerate(self.files)}
        found: dict[int | str, int] = {}
        for frame in wanted:
            if isinstance(frame, int):
                place = by_number.get(frame + offset)
            else:
                last = frame.replace("\\", "/").rpartition("/")[2]
                place = by_name.get(last, by_stem.get(last))
            if place is None:
                shift = (
                    f" (with --offset {offset}: {frame + offset})"
                    if isinstance(frame, int) and offset
                    else ""
                )
                raise DataError(
                    f"the boxes name frame {clean(frame)}{shift}, and {clean(self.path)} has {self.files[0].name} to "
                    f"{self.files[-1].name}, numbered {self.numbers[0]} to {self.numbers[-1]}; where both count from "
                    "another number, --offset N is added to the boxes'"
                )
            found[frame] = place
        return found

    def read(self, places: Collection[int]) -> Iterator[tuple[int, Image.Image, float]]:
        """Each frame wanted."""
        for place in sorted(places):
            seconds = (self.numbers[place] - self.numbers[0]) / self._fps
            yield place, read_image(self.files[place], self._range), seconds

    def source(self, place: int) -> str:
        """The file's name behind the folder's."""
        return f"{self.name}/{self.files[place].name}"


def _natural(name: str) -> list[Any]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]
