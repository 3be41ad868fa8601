"""How much each setting of a search mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ivreid.studies.search_space import Choices, Range

FEWEST = 8
"""With fewer trials any answer would be noise."""

Floats = NDArray[np.float64]


def importance(
    space: Mapping[str, Range | Choices], values: Sequence[Mapping[str, Any]], scores: Sequence[float]
) -> dict[str, float]:
    """The share of the trials' order that each setting explains by itself.

    The scores' ranks are fitted by a parabola in the setting (in its logarithm where the range is
    logarithmic), or by one level for each choice; the answer is the fit's adjusted coefficient of
    determination, so a setting without influence gets about 0 however few the trials. Ranks, because one
    trial that failed utterly must not outweigh all others; each setting by itself, so what two settings do
    only together is not seen.

    Args:
        space: What varied.
        values: Each trial's values by setting.
        scores: Each trial's score.

    Returns:
        Shares in [0, 1], largest first, not summing to 1; empty for fewer than `FEWEST` trials or equal
        scores.
    """
    if len(scores) < FEWEST or len(set(scores)) < 2:
        return {}
    ranks = np.asarray(rankdata(scores), dtype=np.float64)
    found = {
        key: _explained(_columns(one, [row[key] for row in values]), ranks) for key, one in space.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _columns(one: Range | Choices, values: Sequence[Any]) -> Floats:
    """(trials, columns) whose combinations the ranks are fitted by."""
    if isinstance(one, Choices):
        return np.array([[value == choice for choice in one.choices] for value in values], dtype=np.float64)
    x = np.log(np.array(values, dtype=np.float64)) if one.log else np.array(values, dtype=np.float64)
    x = (x - x.mean()) / max(float(x.std()), 1e-12)
    return np.stack([np.ones_like(x), x, x * x], axis=1)


def _explained(columns: Floats, ranks: Floats) -> float:
    fit, _, rank, _ = np.linalg.lstsq(columns, ranks, rcond=None)
    left, total = ((ranks - columns @ fit) ** 2).sum(), ((ranks - ranks.mean()) ** 2).sum()
    freedom = len(ranks) - int(rank)
    return 0.0 if freedom < 1 else max(0.0, 1.0 - float(left / total) * (len(ranks) - 1) / freedom)
