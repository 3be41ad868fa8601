"""How long people take between cameras, and whether a hit can be the person of a query by time alone.

`topology.yaml` says it in seconds:

    travel:
      - between: [gate, yard]     # both ways
        least: 20
        most: 900
      - from: yard                # one way
        to: roof
        least: 60

`least` alone or `most` alone is enough. A pair that is not listed is unknown, and is said to be so; nothing is
concluded from other pairs, for there may be a shorter way. The time that matters is from the end of the earlier
sighting to the start of the later one. Beyond `most` somebody may have stayed on the way: the note says too late, and
only a gate that was asked for leaves such hits out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ivreid.errors import ConfigError, DataError, UsageError, did_you_mean
from ivreid.gallery.record import check_name
from ivreid.reading import clean
from ivreid.yaml_text import parse_yaml, read_yaml

PLAUSIBLE, TOO_SOON, TOO_LATE, UNKNOWN = "plausible", "too soon", "too late", "unknown"
LONGEST = 366 * 86400.0
"""Seconds that a travel time may have: a year."""
_KEYS = ("between", "from", "to", "least", "most")


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody before a camera.

    Attributes:
        camera: Its name.
        time: When, with its zone.
        until: When they were last seen there, of a tracklet; None: at `time` alone.
    """

    camera: str
    time: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Travel:
    """Whether two sightings can be of one person by time.

    Attributes:
        verdict: "plausible", "too soon", "too late" or "unknown".
        seconds: From the end of the earlier to the start of the later sighting, 0 where they overlap; None where
            the query's camera or time is not known.
        why: One sentence for people.
    """

    verdict: str
    seconds: float | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"verdict": self.verdict, "seconds": self.seconds, "why": self.why}


@dataclass(frozen=True)
class Topology:
    """Travel times by (from, to).

    Attributes:
        links: (camera, camera) -> (least, most) seconds; most may be infinite.
    """

    links: Mapping[tuple[str, str], tuple[float, float]]

    @property
    def cameras(self) -> frozenset[str]:
        """Every camera it names."""
        return frozenset(camera for pair in self.links for camera in pair)

    def unknown_to(self, cameras: Iterable[str]) -> list[str]:
        """Its cameras that a gallery does not have: a name written otherwise would judge nothing."""
        return sorted(self.cameras - set(cameras))

    def travel(self, query: Sighting | None, hit: Sighting) -> Travel:
        """Judge a hit of a query, whichever came first.

        Args:
            query: None where its camera or time is not known.
            hit: What was found.
        """
        if query is None:
            return Travel(UNKNOWN, None, "travel is not judged: the query's camera and time are not known")
        first, then = sorted((query, hit), key=lambda one: one.time)
        seconds = max(0.0, (then.time - (first.until or first.time)).total_seconds())
        way = f"{_span(seconds)} from {first.camera} to {then.camera}"
        link = self.links.get((first.camera, then.camera))
        if link is None and first.camera == then.camera:
            return Travel(PLAUSIBLE, seconds, f"{way}: the same camera")
        if link is None:
            return Travel(UNKNOWN, seconds, f"{way}: no travel time is given for this pair")
        least, most = link
        if seconds < least:
            return Travel(TOO_SOON, seconds, f"{way}: too soon, it takes at least {_span(least)}")
        if seconds > most:
            return Travel(TOO_LATE, seconds, f"{way}: too late, it takes at most {_span(most)}")
        return Travel(PLAUSIBLE, seconds, f"{way}: plausible")


def gate(travels: Sequence[Travel]) -> tuple[list[int], str]:
    """Which hits stay where implausible ones are to be left out, and the sentence that must be shown with them.

    Unknown ones stay. The sentence is there also where nothing was left out.
    """
    kept = [place for place, one in enumerate(travels) if one.verdict in (PLAUSIBLE, UNKNOWN)]
    soon, late = (sum(one.verdict == verdict for one in travels) for verdict in (TOO_SOON, TOO_LATE))
    unknown = sum(one.verdict == UNKNOWN for one in travels)
    return kept, (
        f"travel times left out {soon + late} of {len(travels)} hits ({soon} too soon, {late} too late); "
        f"{unknown} could not be judged and stay"
    )


def read_topology(path: Path | str) -> Topology:
    """Read a topology file.

    Raises:
        ConfigError: Not YAML, unknown keys, names or times that are none; the message names file and entry.
    """
    return _topology(read_yaml(path), clean(path))


def parse_topology(text: str, source: str = "topology") -> Topology:
    """As `read_topology`, from text."""
    return _topology(parse_yaml(text, source), source)


def _topology(value: Any, source: str) -> Topology:
    if not isinstance(value, Mapping) or set(value) != {"travel"} or not isinstance(value["travel"], list):
        raise ConfigError(
            f"{source} needs one key, `travel`, with a list of pairs of cameras; see `ivreid.gallery.topology`"
        )
    links: dict[tuple[str, str], tuple[float, float]] = {}
    for number, entry in enumerate(value["travel"], start=1):
        where = f"{source}, pair {number}"
        for pair in _pairs(entry, where):
            if pair in links:
                raise ConfigError(f"{where}: the way from {pair[0]} to {pair[1]} stands twice")
            links[pair] = _times(entry, where)
    if not links:
        raise ConfigError(f"{source} lists no pair of cameras")
    return Topology(links)


def _pairs(entry: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"{where} is {clean(repr(entry), 60)}; it needs `between: [A, B]`, or `from` and `to`"
        )
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(
                f"{where} has an unknown key {clean(repr(key), 60)}; {did_you_mean(str(key), _KEYS)}"
            )
    both = entry.get("between")
    if ("from" in entry, "to" in entry) == (both is None, both is None) and both is None:
        a, b = _camera(entry["from"], where), _camera(entry["to"], where)
        return [(a, b)]
    if (
        both is not None
        and "from" not in entry
        and "to" not in entry
        and isinstance(both, list)
        and len(both) == 2
    ):
        a, b = (_camera(one, where) for one in both)
        return [(a, b)] if a == b else [(a, b), (b, a)]
    raise ConfigError(f"{where} needs either `between: [A, B]`, or `from` and `to`")


def _camera(name: Any, where: str) -> str:
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: a camera's name is text, got {clean(repr(name), 60)}; quote it")
    try:
        check_name("camera", name)
    except (DataError, UsageError) as error:
        raise ConfigError(f"{where}: {error}") from error
    return name


def _times(entry: Mapping[str, Any], where: str) -> tuple[float, float]:
    if "least" not in entry and "most" not in entry:
        raise ConfigError(f"{where} gives neither `least` nor `most`, in seconds")
    least, most = (
        _seconds(entry.get(key, usual), key, where) for key, usual in (("least", 0.0), ("most", math.inf))
    )
    if least > most:
        raise ConfigError(f"{where}: at least {least:g} and at most {most:g} seconds cannot both be")
    return least, most


def _seconds(value: Any, key: str, where: str) -> float:
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (0 <= value <= LONGEST or value == math.inf)
    )
    if not fits or (value == math.inf and key == "least"):
        raise ConfigError(
            f"{where}: `{key}` is {clean(repr(value), 60)}; it must be seconds from 0 to {LONGEST:g}"
        )
    return float(value)


def _span(seconds: float) -> str:
    """A length of time as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
