"""Two results, one difference: over the same people where the files allow it, and every reason for doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ivreid.errors import DataError
from ivreid.metrics.bootstrap import CONFIDENCE, IdentitySums, Interval, paired_bootstrap
from ivreid.protocols.result import FIGURES, Result

PER_IDENTITY = "per_identity"
"""Key of the block in a result that lets people be resampled again: `pids`, `valid`, and `sums` by figure."""

COUNTED = {"queries": "queries", "valid_queries": "valid queries", "gallery": "gallery images"}
ROLE_SWAPPED = (
    "one of the two has the signature of the role-swapped LLCM variant (Rank-1 about 6 points higher, mAP "
    "about 10 lower): check whether the sampled infrared images were the queries; that variant is called "
    "visible-to-infrared-swapped and does not compare with visible-to-infrared"
)


@dataclass(frozen=True)
class Difference:
    """One figure of two results.

    Attributes:
        figure: Its name, e.g. "rank1".
        before, after: Mean over trials in the first and the second result, in [0, 1].
        difference: after - before.
        interval: Of the difference, or None where the files hold nothing to make one from.
        ranked: Whether the two are of one kind, so that one may be called better: a plain result and a re-ranked one
            are not.
    """

    figure: str
    before: float
    after: float
    difference: float
    interval: Interval | None
    ranked: bool = True

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero; never where the two are not ranked."""
        return self.ranked and self.interval is not None and not self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True)
class Comparison:
    """What two results say together.

    Attributes:
        before, after: Titles of the two.
        differences: One entry a figure.
        pairing: "identities", "trials" or "none": what the intervals were made from.
        explanation: The same for people.
        warnings: Why the two figures may not be comparable; empty where nothing speaks against it.
    """

    before: str
    after: str
    differences: tuple[Difference, ...]
    pairing: str
    explanation: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        rows = {
            d.figure: {
                "before": d.before,
                "after": d.after,
                "difference": d.difference,
                "interval": d.interval.to_json() if d.interval else None,
            }
            for d in self.differences
        }
        return {
            "before": self.before,
            "after": self.after,
            "differences": rows,
            "pairing": self.pairing,
            "explanation": self.explanation,
            "ranked": all(d.ranked for d in self.differences),
            "warnings": list(self.warnings),
        }


def compare(before: Result, after: Result, *, seed: int = 0, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two results: the differences, their intervals, and warnings.

    Where both hold outcomes per query identity, for the same people and numbers of queries, people are
    resampled for both at once (a paired bootstrap). Otherwise, with equally many trials, the intervals come
    from the trial-wise differences and Student's t, and say nothing about other people.

    Args:
        before: The result to compare with.
        after: The result in question; differences are after - before.
        seed: Of the resamples.
        confidence: Coverage of the intervals.
    """
    intervals, pairing, explanation = _intervals(before, after, seed, confidence)
    means = before.mean, after.mean
    ranked = (before.rerank is None) == (after.rerank is None)
    if not ranked:
        explanation += "; not ranked, for only one of the two is re-ranked by other test images"
    differences = tuple(
        Difference(
            name,
            means[0][name],
            means[1][name],
            means[1][name] - means[0][name],
            intervals.get(name),
            ranked,
        )
        for name in FIGURES
    )
    return Comparison(
        before.title, after.title, differences, pairing, explanation, tuple(warnings(before, after))
    )


def per_identity(result: Result) -> IdentitySums | None:
    """The outcomes per query identity that a result carries, or None.

    Raises:
        DataError: The block is there and damaged.
    """
    block = result.extra.get(PER_IDENTITY)
    if block is None:
        return None
    try:
        pids = np.asarray(block["pids"], dtype=np.int64)
        sums = {name: np.asarray(values, dtype=np.float64) for name, values in block["sums"].items()}
        if pids.ndim != 1 or any(values.ndim != 1 for values in sums.values()):
            raise ValueError("columns of one value per identity are needed")
        return IdentitySums(pids, np.asarray(block["valid"], dtype=np.float64), sums)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"the {PER_IDENTITY!r} block of {result.title!r} is damaged: {error}") from error


def per_identity_json(table: IdentitySums) -> dict[str, Any]:
    """The block `per_identity` reads: pids, valid queries of each, sums by figure, averaged over trials."""
    sums = {name: values.tolist() for name, values in table.sums.items()}
    return {"pids": table.pids.tolist(), "valid": table.counts.tolist(), "sums": sums}


def _intervals(
    before: Result, after: Result, seed: int, confidence: float
) -> tuple[dict[str, Interval], str, str]:
    first, second = per_identity(before), per_identity(after)
    if first is None or second is None:
        reason = "a file holds no outcomes per identity"
    elif not np.array_equal(first.pids, second.pids):
        reason = "the query identities differ"
    elif not np.allclose(first.counts, second.counts):
        reason = "the identities have different numbers of valid queries"
    elif len(first) < 2:
        reason = "there is a single query identity"
    else:
        found = paired_bootstrap(first, second, rng=np.random.default_rng(seed), confidence=confidence)
        return found, "identities", f"paired over the same {len(first)} query identities, resampled together"
    if len(before.trials) == len(after.trials) > 1:
        text = f"over {len(before.trials)} trials only, because {reason}: the draw is covered, not the people"
        return _trial_intervals(before, after, confidence), "trials", text
    return {}, "none", f"no intervals, because {reason} and the trials cannot be paired"


def _trial_intervals(before: Result, after: Result, confidence: float) -> dict[str, Interval]:
    found = {}
    for name in FIGURES:
        gaps: NDArray[np.float64] = np.array(
            [getattr(b, name) - getattr(a, name) for a, b in zip(before.trials, after.trials, strict=True)]
        )
        quantile = float(special.stdtrit(len(gaps) - 1, (1 + confidence) / 2))
        mean, half = float(gaps.mean()), quantile * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
        found[name] = Interval(mean, mean - half, mean + half, confidence)
    return found


def warnings(before: Result, after: Result) -> Iterator[str]:
    """Every reason why two results may not be comparable, and what each notes of itself, for people."""
    yield from mismatches(before, after)
    for note in dict.fromkeys((*before.notes, *after.notes)):
        noted = [note in result.notes for result in (before, after)]
        who = "each result notes" if all(noted) else f"the {'first' if noted[0] else 'second'} result notes"
        yield f"{who}: {note}"


def mismatches(before: Result, after: Result) -> Iterator[str]:
    """In what two results differ that should be alike, for people."""
    yield from _setting_warnings(before, after)
    yield from _fingerprint_warnings(before.fingerprints, after.fingerprints)
    for name in ("queries", "valid_queries", "gallery"):
        if getattr(before, name) != getattr(after, name):
            counts = f"{getattr(before, name):,} and {getattr(after, name):,}"
            yield f"the numbers of {COUNTED[name]} differ: {counts}"
    if len(before.trials) != len(after.trials):
        yield f"the numbers of trials differ: {len(before.trials)} and {len(after.trials)}"
    if role_swapped(before, after):
        yield ROLE_SWAPPED


def _setting_warnings(before: Result, after: Result) -> Iterator[str]:
    if before.protocol != after.protocol:
        yield f"the protocols differ: {before.protocol} and {after.protocol}; they measure different things"
    elif before.version != after.version:
        yield f"the protocol's implementation differs: version {before.version} and {after.version}"
    for key in sorted(before.options.keys() | after.options.keys()):
        pair = before.options.get(key), after.options.get(key)
        if pair[0] != pair[1]:
            yield f"option {key} differs: {_shown(pair[0])} and {_shown(pair[1])}"
    for name, first, second in (
        ("re-ranking", before.rerank, after.rerank),
        ("test-time augmentation", before.tta, after.tta),
    ):
        if first != second:
            both = f"{_shown(first)} and {_shown(second)}"
            yield f"{name} differs: {both}; a gain may be its doing, not the model's"


def _fingerprint_warnings(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in ("dataset", "split"):
        pair = before.get(name), after.get(name)
        if None in pair:
            yield f"a file does not say which {name} it was made on (no {name} fingerprint)"
        elif pair[0] != pair[1]:
            yield f"the {name} fingerprints differ: {pair[0]} and {pair[1]}; the images are not the same"
    model = before.get("model")
    if model is not None and model == after.get("model"):
        yield f"both were made by the same model ({model})"


def role_swapped(before: Result, after: Result) -> bool:
    """Whether two LLCM results differ as the role-swapped variant does from the protocol.

    Its Rank-1 is about 6 points higher and its mAP about 10 lower; here a Rank-1 higher by 3 to 9 points with
    an mAP lower by 6 to 14. A better or worse model moves both figures the same way.
    """
    if before.protocol != "llcm" or after.protocol != "llcm":
        return False
    rank1, mean_ap = (after.mean[name] - before.mean[name] for name in ("rank1", "mAP"))
    if rank1 < 0:
        rank1, mean_ap = -rank1, -mean_ap
    return 0.03 <= rank1 <= 0.09 and -0.14 <= mean_ap <= -0.06


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
