"""By how much the order of equally distant images moved a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ivreid.metrics import CmcRule
from ivreid.metrics.ties import expected_figures
from ivreid.protocols.result import FIGURES, TrialResult
from ivreid.protocols.trials import TrialOutcomes

TIES = "ties"
"""Key of the block in a result in which ties decided: `queries` of each trial in which they did, and `expected`,
the figures averaged over every order of tied images and over the trials."""
_SHOWN = 5e-5  # tables show hundredths of a percent


def ties_block(found: Sequence[TrialOutcomes], rule: CmcRule) -> dict[str, Any] | None:
    """The block, or None where no query depends on the order of tied images."""
    queries = [len(one.ties) for one in found]
    if not any(queries):
        return None
    trials = [expected_figures(one.outcomes, one.ties, rule) for one in found]
    expected = {name: float(np.mean([trial[name] for trial in trials])) for name in FIGURES}
    return {"queries": queries, "expected": expected}


def tie_note(trials: Sequence[TrialResult], block: Mapping[str, Any] | None, valid: int) -> Iterator[str]:
    """What the block says, where that can be seen in a table.

    Args:
        trials: The figures with tied images in gallery order.
        block: From `ties_block`.
        valid: Valid queries of all trials together.
    """
    if block is None:
        return
    expected, mean = block["expected"], {n: float(np.mean([getattr(t, n) for t in trials])) for n in FIGURES}
    if all(abs(expected[name] - mean[name]) < _SHOWN for name in FIGURES):
        return
    names = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20"}
    listed = ", ".join(
        f"{names.get(name, name)} {100 * expected[name]:.2f} (here {100 * mean[name]:.2f})"
        for name in FIGURES
    )
    yield (
        f"equal distances decide {sum(block['queries']):,} of {valid:,} queries: tied images stand in gallery order, "
        f"by ascending pid; on average over every order, in percent: {listed}"
    )
