"""Whether two embeddings show the same person, by the thresholds of the weights they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.analysis.named_calibrations import SEARCH, Computed, Thresholds, calibration_of
from ivreid.analysis.search_calibration import SearchCalibration
from ivreid.errors import UsageError
from ivreid.metrics.distances import unit
from ivreid.types import as_array


class KnowsThresholds:
    """What every embedder knows of its calibrations.

    Attributes:
        card: The weights' card.
        fingerprint: Of the weights.
        precision: What the network computes in.
        flip: What mirror images do, see `Embedder`.
    """

    card: Mapping[str, Any]
    fingerprint: str | None
    precision: Any
    flip: Any

    @property
    def computed(self) -> Computed:
        """What a calibration must have been fitted with to hold here."""
        return Computed(self.fingerprint, str(self.precision), self.flip)

    @property
    def thresholds(self) -> Thresholds:
        """The card's thresholds by name; each is the largest distance of one person's two images."""
        return Thresholds(self.card, self.computed)

    @property
    def threshold(self) -> float:
        """The threshold called "default", or the only one.

        Raises:
            UsageError: There is none.
            CheckpointError: It was fitted with other weights, or in another precision.
        """
        return self.thresholds.default()

    def search_calibration(self, name: str | None = None) -> SearchCalibration:
        """What distances mean in a search, for `ivreid.analysis.decisions.decide`.

        Raises:
            UsageError: There is none, or none of that name (`NoCalibration`).
            CheckpointError: It was fitted with other weights or in another precision, or is damaged.
        """
        found, block = calibration_of(self.card, name, self.computed, SEARCH)
        return SearchCalibration.from_json(block, f"calibration {found!r} of the weights card")

    def same(self, a: Any, b: Any, *, name: str | None = None) -> bool | NDArray[np.bool_]:
        """Whether embeddings lie within a threshold of each other: a hint, not an identity.

        Args:
            a: (..., D) embeddings.
            b: (..., D) others, the other modality. Two single ones or many, paired by numpy's rules: row i with row i;
                `same(a[:, None], b)` pairs all with all.
            name: Of the calibration; None takes the default one.

        Returns:
            One bool for two vectors, else an array of them.

        Raises:
            UsageError: No such threshold, or shapes that do not fit.
            CheckpointError: It was fitted with other weights, or in another precision.
            DataError: Not numbers.
        """
        threshold, metric = self.thresholds.with_metric(name)
        left, right = (np.asarray(as_array(one, "embeddings"), dtype=np.float64) for one in (a, b))
        try:
            shape = np.broadcast_shapes(left.shape, right.shape)
        except ValueError:
            shape = ()
        if not shape or left.shape[-1] != right.shape[-1]:
            raise UsageError(
                f"embeddings of shapes {left.shape} and {right.shape} make no pairs; (N, D) and (N, D) do"
            )
        if metric == "cosine":
            left, right = (unit(one.reshape(-1, shape[-1])).reshape(one.shape) for one in (left, right))
            distances = 1 - (left * right).sum(axis=-1)
        else:
            distances = np.sqrt(np.square(left - right).sum(axis=-1))
        found = distances <= threshold
        return bool(found) if found.ndim == 0 else np.asarray(found)
