"""Notices a run that is past saving, and names the loss term that broke it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ivreid.errors import TrainingError

FIRST_STEPS = 20
"""Steps whose mean loss is what later losses are compared with."""
SMOOTHING = 0.9


class Diverged(TrainingError):
    """The loss or the gradient is past saving: these settings do not train."""


@dataclass
class Health:
    """Watches every loss term.

    Attributes:
        limit: The smoothed loss may be this many times that of the first steps; None: only NaN and infinity
            count.
        seen: Steps watched.
        first: Mean of each term over the first steps.
        recent: Exponentially smoothed value of each term.
    """

    limit: float | None
    seen: int = 0
    first: dict[str, float] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)

    def watch(self, step: int, terms: Mapping[str, float], grad_norm: float | None) -> None:
        """Take one step's figures.

        Args:
            step: The step's number, for the message.
            terms: Each loss term, weighted.
            grad_norm: Norm of the gradient; None where it may rightly overflow (fp16 while its scale is
                found).

        Raises:
            Diverged: A term or the gradient is NaN or infinite, or the loss has diverged.
        """
        for name, value in terms.items():
            if not math.isfinite(value):
                others = ", ".join(f"{n} {v:.4g}" for n, v in terms.items() if n != name)
                raise Diverged(f"step {step}: the loss term `{name}` is {value} (others: {others})")
        if grad_norm is not None and not math.isfinite(grad_norm):
            worst = max(terms, key=lambda name: abs(terms[name]))
            raise Diverged(
                f"step {step}: the gradient is {grad_norm}; the largest loss term is `{worst}` "
                f"({terms[worst]:.4g})"
            )
        self._remember(terms)
        self._check_divergence(step)

    def _remember(self, terms: Mapping[str, float]) -> None:
        self.seen += 1
        for name, value in terms.items():
            if self.seen <= FIRST_STEPS:
                self.first[name] = self.first.get(name, 0.0) + (value - self.first.get(name, 0.0)) / self.seen
            self.recent[name] = SMOOTHING * self.recent.get(name, value) + (1 - SMOOTHING) * value

    def _check_divergence(self, step: int) -> None:
        if self.limit is None or self.seen <= FIRST_STEPS:
            return
        before, now = sum(self.first.values()), sum(self.recent.values())
        if now > self.limit * max(before, 1e-6):
            worst = max(self.recent, key=lambda name: self.recent[name] - self.first.get(name, 0.0))
            raise Diverged(
                f"step {step}: the loss has diverged, {now:.4g} against {before:.4g} in the first "
                f"{FIRST_STEPS} steps; the term `{worst}` rose most, from {self.first.get(worst, 0.0):.4g} "
                f"to {self.recent[worst]:.4g}. Lower optimizer.lr, clip the gradient (clip: 5) or warm up "
                "(schedule.warmup: 5)"
            )

    def to_json(self) -> dict[str, Any]:
        """Everything but the limit, for a checkpoint."""
        return {key: value for key, value in asdict(self).items() if key != "limit"}

    @classmethod
    def from_json(cls, limit: float | None, value: Mapping[str, Any]) -> Self:
        """The watch as it was when the checkpoint was written."""
        return cls(limit, **value)
