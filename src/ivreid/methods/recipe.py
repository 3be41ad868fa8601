"""A recipe: the settings of a run that a method was published with, written in the method's own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """What a run of a method uses where nothing else is said: keys and values of a configuration.

    Attributes:
        values: On every dataset, e.g. `{"epochs": 81, "data": {"size": [288, 144]}}`.
        datasets: What differs on one dataset, by its registry name; an empty mapping says that the authors
            published settings for it which are those of `values`.
        source: Where the settings were published.
        published: What its twin `NAME-published` does besides, to repeat the published program: what is known
            to be no improvement, or needs a certain machine; and how often, from which epoch and by what it chose
            its weights.
        published_on: What that twin does besides on one dataset, by its registry name.
        transformer: What differs where the method's backbone is a vision transformer (`vit_*`), whatever the dataset.
        compact: What its twin `NAME-compact` does besides the settings that all of them share, to learn from
            random weights in minutes, see `ivreid.config.recipes`.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""
    published: Mapping[str, Any] = field(default_factory=dict)
    published_on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    transformer: Mapping[str, Any] = field(default_factory=dict)
    compact: Mapping[str, Any] = field(default_factory=dict)

    def on(self, dataset: str) -> dict[str, Any]:
        """The settings for a dataset over those of every dataset: its own, or those of the nearest."""
        nearest = self.nearest(dataset)
        return merged(self.values, self.datasets[nearest] if nearest else {})

    def nearest(self, dataset: str) -> str | None:
        """The dataset whose settings are taken: itself where it has some, else the first that has; None: none has."""
        return dataset if dataset in self.datasets else next(iter(self.datasets), None)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one: where both say something, `above` counts."""
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        out[key] = merged(under, value) if both else value  # type: ignore[arg-type]
    return out
