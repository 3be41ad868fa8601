"""Shards in their order, and what they said as one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ivreid.errors import DataError
from ivreid.gallery.postgres.store import PostgresStore
from ivreid.gallery.record import Crop
from ivreid.gallery.store import Added, Approximate


def lowest(parts: Sequence[Approximate]) -> Approximate:
    """What holds for all of these."""
    return min(parts, key=lambda one: one.recall)


def ordered(opened: Sequence[PostgresStore], missing: int) -> list[PostgresStore]:
    """The shards by their numbers, where so many more do not answer.

    Raises:
        DataError: They are not all the shards of one gallery.
    """
    first = opened[0]
    for shard in opened:
        if shard.meta.get("gallery") is None or shard.meta["gallery"] != first.meta.get("gallery"):
            raise DataError(
                f"{shard.address} and {first.address} are no shards of one gallery; check the addresses"
            )
    numbers = [int(shard.meta["shard"]) for shard in opened]
    wanted = int(first.meta["shards"])
    if len(set(numbers)) != len(numbers) or len(numbers) + missing != wanted:
        raise DataError(
            f"{','.join(shard.address for shard in opened)}: these are the shards {sorted(n + 1 for n in numbers)} of a "
            f"gallery of {wanted}; give the address of each once, with commas between"
        )
    return sorted(opened, key=lambda shard: int(shard.meta["shard"]))


def merged(crops: Sequence[Crop], fates: Sequence[Added]) -> Added:
    """What the shards said, in the order in which the crops were given."""
    out: dict[str, list[str]] = {"added": [], "known": [], "erased": []}
    added = {name for one in fates for name in one.added}
    erased = {name for one in fates for name in one.erased}
    for crop in crops:
        if crop.id in erased:
            out["erased"].append(crop.id)
        elif crop.id in added:
            added.discard(crop.id)  # a second time it is known
            out["added"].append(crop.id)
        else:
            out["known"].append(crop.id)
    return Added(*(tuple(out[name]) for name in ("added", "known", "erased")))


def added_up(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Counts by name, added up."""
    out: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            out[name] = out.get(name, 0) + count
    return out
