"""Time limits of the tests are guards against hanging, never a verdict on speed; one variable scales them."""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("IVREID_TEST_TIME_FACTOR", "1"))


def seconds(limit: float) -> float:
    """A limit as a fast machine needs it, many times over, scaled by `IVREID_TEST_TIME_FACTOR`."""
    return limit * FACTOR
