"""Settings that are taken and change nothing: said, never refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivreid.config.schema import Config
from ivreid.config.sources import Sources
from ivreid.data.settings import BatchSettings

PLAIN = BatchSettings()


def without_effect(given: Mapping[str, Any], config: Config, sources: Sources) -> list[str]:
    """What of a configuration changes nothing beside the rest of it: a line for people each.

    Args:
        given: The file and what was said over it, without its recipe.
        config: What came of it, its recipe included.
        sources: Where the values come from.
    """
    batch, second = config.batch, config.augment.second
    found = []
    if batch.images is not None and _is_given("instances", given, sources):
        found.append(
            f"batch.instances = {batch.instances} has no effect: the sampler {batch.sampler} takes batch.images = "
            f"{batch.images} of each identity; set that"
        )
    if batch.sampler != "uniform" and _is_given("replacement", given, sources):
        found.append(f"batch.replacement has no effect: it is for the sampler uniform, not {batch.sampler}")
    left_out = sources.sets("batch.views.visible") or sources.sets("batch.views")
    if batch.views.visible == 1 and left_out and second:  # a recipe may describe a view that it does not take
        found.append(
            f"augment.second ({', '.join(second)}) has no effect: batch.views.visible = 1 leaves no second view of a "
            "visible image; set batch.views.visible=2"
        )
    return found


def _is_given(key: str, given: Mapping[str, Any], sources: Sources) -> bool:
    """Whether a key of `batch` was said, or stands in a file as no default: a run's own file holds every default."""
    batch = given.get("batch")
    in_file = isinstance(batch, Mapping) and batch.get(key, getattr(PLAIN, key)) != getattr(PLAIN, key)
    return in_file or sources.sets(f"batch.{key}")
