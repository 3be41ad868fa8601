"""Which crops are meant: a small typed filter, never a string of SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime

from ivreid.errors import UsageError
from ivreid.gallery.record import Crop, checked_time
from ivreid.types import Modality


@dataclass(frozen=True, kw_only=True)
class Where:
    """A filter: a crop passes that meets every condition; None is no condition.

    Attributes:
        cameras: Names, one of which is the crop's.
        not_cameras: Names, none of which is.
        start: The earliest time that passes.
        stop: The first time that no longer does.
        modality: Visible or infrared.
        tracklets: Names, one of which is the crop's.
        pids: Persons, one of whom it shows.
        ids: Ids, one of which is the crop's.

    Raises:
        UsageError: Conditions that nothing can meet.
        DataError: A time without a zone.
    """

    cameras: frozenset[str] | None = None
    not_cameras: frozenset[str] | None = None
    start: datetime | None = None
    stop: datetime | None = None
    modality: Modality | None = None
    tracklets: frozenset[str] | None = None
    pids: frozenset[int] | None = None
    ids: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in ("cameras", "not_cameras", "tracklets", "pids", "ids"):
            value: Iterable[object] | None = getattr(self, name)
            if value is None:
                continue
            given = frozenset([value] if isinstance(value, str) else value)
            if not given:
                raise UsageError(f"the filter `{name}` is empty; leave it out, or name at least one")
            object.__setattr__(self, name, given)
        for name in ("start", "stop"):
            if (time := getattr(self, name)) is not None:
                object.__setattr__(self, name, checked_time(time, f"the filter's {name}"))
        if self.modality is not None:
            object.__setattr__(self, "modality", Modality(self.modality))
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise UsageError(
                f"the time from {self.start.isoformat()} to {self.stop.isoformat()} holds nothing: give the earlier "
                "one first"
            )

    def matches(self, crop: Crop) -> bool:
        """Whether a crop passes: the definition that every store keeps."""
        return (
            (self.cameras is None or crop.camera in self.cameras)
            and (self.not_cameras is None or crop.camera not in self.not_cameras)
            and (self.start is None or crop.time >= self.start)
            and (self.stop is None or crop.time < self.stop)
            and (self.modality is None or crop.modality == self.modality)
            and (self.tracklets is None or crop.tracklet in self.tracklets)
            and (self.pids is None or crop.pid in self.pids)
            and (self.ids is None or crop.id in self.ids)
        )

    def conditions(self) -> Iterator[tuple[str, Where]]:
        """The filter one condition at a time: what people call it, and all conditions up to it."""
        so_far = Where()
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                so_far = replace(so_far, **{field.name: value})
                yield _said(field.name, value), so_far

    def __str__(self) -> str:
        return ", ".join(said for said, _ in self.conditions()) or "every crop"


EVERYTHING = Where()


def _said(name: str, value: object) -> str:
    if isinstance(value, frozenset):
        if name == "ids":  # an id is made from pixels, which must not stay behind in words
            return f"{len(value)} id(s)"
        shown = sorted(map(str, value))
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        words = {"cameras": "camera", "not_cameras": "not camera", "tracklets": "tracklet", "pids": "pid"}
        return f"{words[name]} {', '.join(shown[:5])}{more}"
    if isinstance(value, datetime):
        return f"{'from' if name == 'start' else 'before'} {value.isoformat()}"
    return f"{name} {value}"
