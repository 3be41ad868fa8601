"""A video's frames, one after the other, through PyAV (the extra `video`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ivreid.errors import DataError, ImageError, UsageError
from ivreid.io import MAX_PIXELS
from ivreid.reading import clean

EXTRA = "ivreid[video]"


class VideoFrames:
    """Frames count from 1 in the order they are shown; a frame's time is the video's own where no `fps` is given."""

    def __init__(self, path: Path, fps: float | None = None) -> None:
        try:
            import av
        except ImportError:
            raise _no_decoder(path) from None
        self.path, self.name, self._av, self._fps = path, path.name, av, fps

    def places(self, wanted: Collection[int | str], offset: int = 0) -> dict[int | str, int]:
        """Numbers from 1; whether the video is so long is seen when it is read."""
        found: dict[int | str, int] = {}
        for frame in wanted:
            if not isinstance(frame, int) or frame + offset < 1:
                raise DataError(
                    f"the boxes name frame {clean(frame)}; the frames of {clean(self.path)} are numbered from 1 "
                    "(--offset N is added to the boxes' numbers)"
                )
            found[frame] = frame + offset - 1
        return found

    def read(self, places: Collection[int]) -> Iterator[tuple[int, Image.Image, float]]:
        """Decode up to the last frame wanted."""
        wanted, last = set(places), max(places, default=-1)
        shown = -1
        try:
            with self._av.open(str(self.path)) as container:
                first: float | None = None
                for shown, frame in enumerate(self._decoded(container)):
                    first = frame.time if first is None else first
                    if shown in wanted:
                        image = frame.to_image()
                        _check_size(image, f"{self.path}, frame {shown + 1}")
                        yield shown, image, self._seconds(shown, frame.time, first)
                    if shown >= last:
                        return
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{clean(self.path)} is no video that can be read: {clean(error)}") from error
        if last > shown:
            raise DataError(f"{clean(self.path)} has {shown + 1} frames, and the boxes name frame {last + 1}")

    def _seconds(self, place: int, time: Any, first: Any) -> float:
        if self._fps is not None:
            return place / self._fps
        if time is None or first is None:
            raise UsageError(f"{clean(self.path)} does not say when its frames were taken; give --fps")
        return float(time - first)

    def _decoded(self, container: Any) -> Iterator[Any]:
        if not container.streams.video:
            raise DataError(f"{clean(self.path)} holds no pictures")
        return iter(container.decode(video=0))

    def source(self, place: int) -> str:
        """The file's name and the frame's number."""
        return f"{self.name}#frame={place + 1}"


def _check_size(image: Image.Image, what: str) -> None:
    """Refuse a frame beyond the limit of pixels.

    Raises:
        ImageError: It is.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{what}: {image.width}x{image.height} is over the limit of {MAX_PIXELS:,} pixels")


def _no_decoder(path: Path) -> UsageError:
    """What to do where no decoder of videos is installed."""
    return UsageError(
        f"{clean(path)} is no folder, and to read videos takes a decoder: pip install '{EXTRA}', or write its frames "
        "into a folder"
    )
