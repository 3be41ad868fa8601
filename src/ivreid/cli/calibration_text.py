"""What a calibration says, in sentences."""

from __future__ import annotations

from ivreid.analysis.calibration import Calibration


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
