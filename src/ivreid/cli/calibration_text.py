"""What a calibration says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from ivreid.analysis.calibration import Calibration
from ivreid.analysis.search_calibration import SearchCalibration

DRAWN = "SYNTHETIC people, drawn by ivreid: it says nothing about real ones"


def calibration_sentences(found: Calibration | SearchCalibration, *, synthetic: bool = False) -> str:
    """What was found, as people read it; `synthetic` where the people are drawn."""
    said = pairs_sentence(found) if isinstance(found, Calibration) else "\n".join(_search_sentences(found))
    return f"{said}\n{DRAWN}" if synthetic else said


def pairs_sentence(found: Calibration) -> str:
    """The threshold for pairs of images, its rates and whom they come from."""
    threshold, tpr = found.threshold, found.tpr
    return (
        f"same person where the {found.metric} distance is at most {threshold.estimate:z.4f} "
        f"({threshold.confidence:.0%} interval {threshold.low:z.4f} to {threshold.high:z.4f})\n"
        f"at this false-positive rate, {found.fpr:.2%}, {tpr.estimate:.1%} of pairs of one person pass "
        f"({tpr.low:.1%} to {tpr.high:.1%}); equal error rate {found.equal_error_rate:.1%}\n"
        f"from {found.genuine_pairs:,} pairs of one person and {found.impostor_pairs:,} of two, "
        f"{found.identities:,} people"
    )


def _search_sentences(found: SearchCalibration) -> Iterator[str]:
    yield (
        f"of searches of {found.searched:,} for somebody absent, at most {found.fpir:.2%} end in likely same "
        f"({found.confidence:.0%} intervals)"
    )
    for (comparison, unit), table in found.tables.items():
        text = f"{comparison}, by {unit}: likely same up to cosine distance {table.same:.4f}"
        text += f" (rate {table.fpir.estimate:.2%}, {table.fpir.low:.2%} to {table.fpir.high:.2%})"
        if table.found is not None:
            text += f", which {table.found.estimate:.1%} of one person's pairs keep"
        if table.apart is not None:
            text += f"; likely different beyond {max(table.apart.high, table.same):.4f}"
        yield f"{text}; {table.people:,} people, searches of up to {table.most:,}"
    for comparison, why in found.refused.items():
        yield f"{comparison}: not enough people to promise that: {why}"
