"""The calibrations of a weights card, by name, and whether they hold for what a model computes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ivreid.errors import CheckpointError, UsageError, did_you_mean
from ivreid.protocols.result import SYNTHETIC_MARK
from ivreid.reading import clean

DEFAULT = "default"
"""The name of a threshold that was given none, and of the single one that older cards hold."""
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
PAIRS, SEARCH = "pairs", "search"
"""Kinds: a rate over pairs of images, or a rate over searches of a whole gallery."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class NoCalibration(UsageError, KeyError):
    """No calibration of that name."""


@dataclass(frozen=True)
class Computed:
    """What decides how far two embeddings lie apart, besides the images.

    Attributes:
        weights: Fingerprint of the weights; None where it is not known.
        precision: What the network computes in: fp32, bf16, fp16, int8.
        flip: Whether mirror images are averaged in (True or "average"), or another way to use them.
    """

    weights: str | None = None
    precision: str = "fp32"
    flip: bool | str = False

    def __post_init__(self) -> None:
        known: dict[bool | str, bool] = {"none": False, "average": True}  # as cards say it
        object.__setattr__(self, "flip", known.get(self.flip, self.flip))

    def to_json(self) -> dict[str, Any]:
        """As a calibration records it."""
        return {"weights": self.weights, "precision": self.precision, "flip": self.flip}


def default_name(kind: str) -> str:
    """What a calibration is called that was given no name."""
    return SEARCH if kind == SEARCH else DEFAULT


def check_calibration_name(name: str) -> str:
    """The name, if a calibration may have it.

    Raises:
        UsageError: It may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a calibration's name is 1 to 40 letters, digits, dots, dashes or underscores, got {clean(name)!r}"
        )
    return name


def check_precision(precision: str) -> str:
    """The precision, if one is called so.

    Raises:
        UsageError: None is.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {clean(precision)!r} is none of {', '.join(PRECISIONS)}")
    return precision


def card_calibrations(card: Mapping[str, Any], kind: str = PAIRS) -> dict[str, Mapping[str, Any]]:
    """Name -> block of every calibration of a kind; the single one of older cards is called "default".

    Raises:
        CheckpointError: An entry that is no calibration.
    """
    found = {DEFAULT: card["calibration"]} if card.get("calibration") else {}
    found |= card.get("calibrations") or {}
    for name, block in found.items():
        if not isinstance(block, Mapping):
            raise CheckpointError(
                f"the card's calibration {clean(name)!r} is {clean(repr(block), 60)}, no object"
            )
    return {name: block for name, block in found.items() if block.get("kind", PAIRS) == kind}


def with_calibration(card: Mapping[str, Any], name: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """The card with one more calibration; others keep their names."""
    kept = {key: value for key, value in card.items() if key != "calibration"}
    older = {DEFAULT: card["calibration"]} if card.get("calibration") else {}
    return {**kept, "calibrations": {**older, **(card.get("calibrations") or {}), name: dict(block)}}


def calibration_of(
    card: Mapping[str, Any], name: str | None, model: Computed, kind: str = PAIRS
) -> tuple[str, Mapping[str, Any]]:
    """Name and block of a card's calibration that holds for what `model` computes.

    Args:
        card: A weights card.
        name: None takes the one called "default" (for searches "search"), or the only one there is.
        model: What the embeddings are computed with.
        kind: "pairs" or "search".

    Raises:
        NoCalibration: There is none of that name.
        CheckpointError: It was fitted with other weights, or in another precision.
    """
    known = card_calibrations(card, kind)
    how = "ivreid calibrate RUN_DIR" + (" --fpir 0.01 --searched N" if kind == SEARCH else "")
    if not known:
        raise NoCalibration(f"the weights hold no calibration for {kind}; fit one: {how}")
    if name is None:
        name = DEFAULT if DEFAULT in known else next(iter(known)) if len(known) == 1 else None
        if name is None:
            raise NoCalibration(
                f"none of the calibrations is called {DEFAULT}; name one of {', '.join(known)}"
            )
    if name not in known:
        raise NoCalibration(
            f"no calibration for {kind} is called {clean(name)!r}; {did_you_mean(name, known)}"
        )
    _refuse_others(name, known[name].get("computed") or {}, model, how)
    return name, known[name]


def _refuse_others(name: str, fitted: Any, model: Computed, how: str) -> None:
    """A block without `computed` is of an older card: these weights, fp32."""
    fitted = fitted if isinstance(fitted, Mapping) else {}
    weights = fitted.get("weights")
    if weights is not None and model.weights is not None and weights != model.weights:
        raise CheckpointError(
            f"calibration {name!r} was fitted with the weights {clean(weights, 40)}, these are {model.weights}; "
            f"distances of other weights mean something else, so calibrate these: {how}"
        )
    precision, flip = fitted.get("precision", "fp32"), fitted.get("flip", False)
    flip = flip if isinstance(flip, str) else bool(flip)
    if (precision, flip) != (model.precision, model.flip):
        raise CheckpointError(
            f"calibration {name!r} was fitted in {_way(clean(precision, 20), flip)}, and this model computes in "
            f"{_way(model.precision, model.flip)}; calibrate that anew: {how}"
        )


def _way(precision: str, flip: bool | str) -> str:
    way = f" ({clean(flip, 20)})" if isinstance(flip, str) else ""
    return precision + (f" with mirror images{way}" if flip else "")


def fitted_on_drawn(block: Mapping[str, Any]) -> bool:
    """Whether a calibration's people are drawn; older ones say it of their dataset only."""
    dataset = block.get("dataset")
    of_dataset = dataset.get(SYNTHETIC_MARK) if isinstance(dataset, Mapping) else None
    return bool(block.get(SYNTHETIC_MARK) or of_dataset)


class Thresholds(Mapping[str, float]):
    """Name -> the largest distance at which two images count as the same person.

    A threshold that was fitted with other weights or in another precision raises a CheckpointError when it is
    looked up, an unknown name a `NoCalibration`, which is a KeyError too.
    """

    def __init__(self, card: Mapping[str, Any], model: Computed) -> None:
        self._card, self._model = card, model

    def __getitem__(self, name: str) -> float:
        return self.default(name)

    def __iter__(self) -> Iterator[str]:
        return iter(card_calibrations(self._card))

    def __len__(self) -> int:
        return len(card_calibrations(self._card))

    def __contains__(self, name: object) -> bool:
        return name in card_calibrations(self._card)

    def default(self, name: str | None = None) -> float:
        """The threshold called "default", or the only one."""
        return self.with_metric(name)[0]

    def with_metric(self, name: str | None = None) -> tuple[float, str]:
        """A threshold, and the metric it is for."""
        name, block = calibration_of(self._card, name, self._model)
        inner = block.get("threshold")
        value = inner.get("estimate") if isinstance(inner, Mapping) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise CheckpointError(f"calibration {name!r} of the card holds no threshold; calibrate anew")
        return float(value), str(block.get("metric", "cosine"))
