"""Two results files, setting by setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.analysis.compare import Comparison, compare
from ivreid.errors import UsageError
from ivreid.metrics.bootstrap import CONFIDENCE
from ivreid.protocols.result import Result
from ivreid.protocols.result_io import read_results

Results = Path | str | Result | Sequence[Result]
"""A results file, a run folder, or results in memory."""
Pairs = list[tuple[Result, Result]]


@dataclass(frozen=True)
class Comparisons:
    """Two files of results, compared.

    Attributes:
        settings: One comparison for every setting that both hold.
        unmatched: A line for every setting that only one holds.
    """

    settings: tuple[Comparison, ...]
    unmatched: tuple[str, ...]

    def to_json(self) -> Any:
        """The comparison as plain JSON values; a list of them where there are several settings."""
        entries = [comparison.to_json() for comparison in self.settings]
        return entries[0] if len(entries) == 1 else entries


def compare_results(
    before: Results, after: Results, *, seed: int = 0, confidence: float = CONFIDENCE
) -> Comparisons:
    """Compare two results: the differences, their intervals, and every reason not to compare them.

    Files of several settings are joined by setting. Where both hold outcomes per query identity, the same
    people are drawn again for both (a paired bootstrap); otherwise the trials are paired.

    Args:
        before: What to compare with: a results file, a run folder, or results.
        after: What is in question; differences are after - before.
        seed: Of the resamples.
        confidence: Coverage of the intervals.

    Raises:
        UsageError: No setting in common, or a coverage outside (0, 1).
        DataError: A file that cannot be read.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence}: a coverage lies between 0 and 1, such as 0.95")
    pairs, unmatched = match_results(read_any(before), read_any(after))
    found = tuple(compare(*pair, seed=seed, confidence=confidence) for pair in pairs)
    return Comparisons(found, tuple(unmatched))


def read_any(results: Results) -> Sequence[Result]:
    """The results of a file, of a run folder, or in memory.

    Raises:
        DataError: A file that cannot be read.
    """
    if isinstance(results, Result):
        return [results]
    if isinstance(results, str | Path):
        path = Path(results)
        return read_results(path / "results.json" if path.is_dir() else path)
    return results


def match_results(before: Sequence[Result], after: Sequence[Result]) -> tuple[Pairs, list[str]]:
    """Pair the settings of two results files: the same protocol, options, re-ranking and augmentation.

    Two files with one setting each are compared whatever it is; `warnings` then say what differs.

    Returns:
        The pairs, and a line for every setting that only one file holds.

    Raises:
        UsageError: The files share no setting.
    """
    if len(before) == len(after) == 1:
        return [(before[0], after[0])], []
    pairs, left, alone = [], list(after), []
    for result in before:
        match = next((i for i, other in enumerate(left) if setting_of(other) == setting_of(result)), None)
        if match is None:
            alone.append(f"only the first file holds: {result.title}")
        else:
            pairs.append((result, left.pop(match)))
    alone += [f"only the second file holds: {other.title}" for other in left]
    if not pairs:
        raise UsageError("the two files share no setting to compare:\n" + "\n".join(alone))
    return pairs, alone


def setting_of(result: Result) -> tuple[Any, ...]:
    """What must be equal for two results to be of one setting: protocol, options, re-ranking, augmentation."""
    options = tuple(sorted((key, str(value)) for key, value in result.options.items()))
    return result.protocol, options, result.rerank, result.tta
