"""What names of files say: `{camera}_{time:%Y%m%d-%H%M%S}_{tracklet}.jpg`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ivreid.errors import DataError, UsageError, did_you_mean
from ivreid.reading import clean

FIELDS = ("camera", "time", "modality", "tracklet", "pid")
_FIELD = re.compile(r"\{(\w*)(?::([^{}]+))?\}")
_LITERALS = {
    **dict.fromkeys("dmHIMSyjUW", "[0-9]{1,3}"),
    "Y": "[0-9]{4}",
    "f": "[0-9]{1,6}",
    "z": r"(?:[+-][0-9]{2}:?[0-9]{2}(?::?[0-9]{2})?|Z)",
    **dict.fromkeys("bBaAp", r"\w+"),
    "%": "%",
}


@dataclass(frozen=True)
class Pattern:
    """A pattern of names.

    A field `{camera}`, `{modality}`, `{tracklet}` or `{pid}` stands for letters other than a slash; `{time:...}`
    for a time in the letters of `strptime`, or `{time}` for one in ISO 8601 or in seconds since 1970; `{}` for
    anything without a slash. A pattern without a slash is compared with the file's name, else with the end of
    its path.

    Raises:
        UsageError: Unknown fields, one that stands twice, or none.
    """

    text: str

    def __post_init__(self) -> None:
        names = [name for name, _ in _FIELD.findall(self.text) if name]
        for name in names:
            if name not in FIELDS:
                raise UsageError(
                    f"the pattern {clean(self.text)} has an unknown field {name!r}; {did_you_mean(name, FIELDS)}"
                )
        if not names or len(names) > len(set(names)):
            raise UsageError(
                f"the pattern {clean(self.text)} must name fields, each once: {', '.join(f'{{{f}}}' for f in FIELDS)}"
            )
        object.__setattr__(self, "_regex", re.compile(self._translated()))

    def _translated(self) -> str:
        out, at = [], 0
        for match in _FIELD.finditer(self.text):
            out.append(re.escape(self.text[at : match.start()]))
            name, form = match.groups()
            at = match.end()
            if not name:
                out.append("[^/]*?")
            elif form and name == "time":
                out.append(f"(?P<time>{_time_letters(form)})")
            elif form:
                raise UsageError(
                    f"the pattern {clean(self.text)}: only {{time:...}} has a form, not {{{name}:...}}"
                )
            else:
                out.append(f"(?P<{name}>[^/]+?)")
        out.append(re.escape(self.text[at:]))
        return "(?:.*/)?" + "".join(out)

    def read(self, path: str) -> dict[str, str | datetime]:
        """What a path with forward slashes says; a time may lack its zone.

        Raises:
            DataError: It does not fit the pattern.
        """
        regex: re.Pattern[str] = getattr(self, "_regex")  # noqa: B009 - set in a frozen value
        match = regex.fullmatch(path)
        if match is None:
            raise DataError(f"{clean(path)} does not fit the pattern {clean(self.text)}")
        found: dict[str, str | datetime] = {**match.groupdict()}
        if "time" in found:
            form = next(form for name, form in _FIELD.findall(self.text) if name == "time")
            found["time"] = parse_time(match["time"], form or None, where=clean(path))
        return found


def parse_time(text: str, form: str | None = None, *, where: str = "") -> datetime:
    """A time in the letters of `strptime`, or in ISO 8601 or seconds since 1970; it may lack its zone.

    Raises:
        DataError: It is none.
    """
    at = f"{where}: " if where else ""
    try:
        if form is not None:
            return datetime.strptime(text, form)
        if re.fullmatch(r"[0-9]{9,11}(\.[0-9]{1,6})?", text):
            return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + _seconds(text)
        day = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(Z|[+-][0-9:]+)", text)
        return datetime.fromisoformat(f"{day[1]}T00:00{day[2]}" if day else text)
    except (ValueError, OverflowError) as error:
        wanted = f"of the form {form}" if form else "as 2026-03-01T22:00:00+01:00, or in seconds since 1970"
        raise DataError(f"{at}{clean(text, 60)!r} is no time {wanted}") from error


def parse_zone(text: str) -> tzinfo:
    """A zone by its name (Europe/Berlin, UTC) or its distance from UTC (+02:00).

    Raises:
        UsageError: There is none such.
    """
    try:
        if text[:1] in "+-Z":
            found = datetime.fromisoformat(f"2000-01-01T00:00:00{text}").tzinfo
            assert found is not None
            return found
        return ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise UsageError(
            f"there is no zone {clean(text, 60)!r}; write UTC, Europe/Berlin or +02:00"
        ) from error


def parse_age(text: str, now: datetime) -> datetime:
    """The time so long ago (30d, 12h, 4w, 90m), or a time.

    Raises:
        DataError: Neither.
    """
    match = re.fullmatch(r"([0-9]{1,6})([wdhm])", text.strip())
    if match is None:
        return parse_time(text)
    names = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
    try:
        return now - timedelta(**{names[match[2]]: int(match[1])})
    except OverflowError as error:
        raise DataError(f"{text} is longer ago than there are dates") from error


def _seconds(text: str) -> timedelta:
    whole, _, part = text.partition(".")
    return timedelta(seconds=int(whole), microseconds=int(part.ljust(6, "0")))


def _time_letters(form: str) -> str:
    out, letters = [], iter(form)
    for letter in letters:
        if letter != "%":
            out.append(re.escape(letter))
            continue
        code = next(letters, "")
        if code not in _LITERALS:
            raise UsageError(f"the form {clean(form)} of a time holds %{code}, which is not read in names")
        out.append(_LITERALS[code])
    return "".join(out)
