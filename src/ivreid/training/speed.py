"""How fast a run goes, and how long its data path lets it wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class SpeedMeter:
    """Counts images and the time spent waiting for them, since it was last read."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin again, e.g. after a validation, whose time is not training time."""
        self._started = time.perf_counter()
        self._waited = 0.0
        self._images = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time in this block is spent waiting for data."""
        asked = time.perf_counter()
        yield
        self._waited += time.perf_counter() - asked

    def count(self, images: int) -> None:
        """So many images have been trained on."""
        self._images += images

    def read(self) -> dict[str, float]:
        """Images per second and the share of the time spent waiting for data; counting begins again."""
        seconds = max(time.perf_counter() - self._started, 1e-9)
        found = {
            "images_per_second": round(self._images / seconds, 2),
            "data_wait": round(self._waited / seconds, 4),
        }
        self.restart()
        return found
