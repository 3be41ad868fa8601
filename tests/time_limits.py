"""Time limits of the tests are guards against hanging, never a verdict on speed; one variable scales them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("IVREID_TEST_TIME_FACTOR", "1"))


def seconds(limit: float) -> float:
    """A limit as a fast machine needs it, many times over, scaled by `IVREID_TEST_TIME_FACTOR`."""
    return limit * FACTOR


def wait_until(condition: Callable[[], bool], limit: float = 120) -> None:
    """Look again and again, until it is true or something hangs."""
    end = time.monotonic() + seconds(limit)
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(
                f"nothing came within {seconds(limit):.0f} s; IVREID_TEST_TIME_FACTOR makes it longer"
            )
        time.sleep(0.01)
