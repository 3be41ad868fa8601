"""Which part of a picture's name is the person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ivreid.errors import UsageError
from ivreid.owndata.answers import Answers, Ask, Question, check_answer
from ivreid.owndata.pictures import Picture, Pictures
from ivreid.owndata.words import MARKET, camera_of, is_date, is_tracklet, modality_of, says_person, split_of
from ivreid.types import Modality

IN_NAME = "the beginning of the file's name"
_COLUMNS = (
    "pid",
    "person",
    "person_id",
    "personid",
    "identity",
    "identity_id",
    "pedestrian",
    "subject",
    "id",
    "label",
)
SHOWN = 3


def person_of(
    pictures: Pictures, modalities: Mapping[str, Modality], answers: Answers, ask: Ask | None
) -> dict[str, str]:
    """The person of every picture, by its path.

    A part is taken without a question only where names say that it is the person, or where it is the only one that
    can be and shows the same names in both modalities.

    Raises:
        UsageError: Nobody can be asked, or a picture lacks the part that was chosen.
    """
    candidates = _candidates(pictures, modalities)
    if answers.person is None and (sure := _sure(pictures, candidates, modalities)):
        return _across_days(pictures, sure, answers, ask)
    folders = [part for part in candidates if not part.startswith("name ")]
    choices = tuple((part, f"such as {_some(pictures.values(part))}") for part in folders or candidates)
    if not choices:
        raise UsageError(
            f"{pictures.root}: no part of the pictures' names can be a person's (folders are days, cameras or modalities, "
            "or there is one only); list them in a table with the columns path,pid,modality"
        )
    question = Question(
        "person",
        "Which part of a picture's path names the person? (A tracklet, sequence or frame number is not a person.)",
        choices,
    )
    every = [*pictures.parts(), *pictures.columns]
    # any part may be named beforehand, also one that nobody would be asked about
    given = answers.person
    part = answers.get(question, ask) if given is None else check_answer("person", given, every)
    lacking = [row.path for row in pictures.rows if part not in row.parts]
    if lacking:
        raise UsageError(
            f"{len(lacking):,} of {len(pictures.rows):,} pictures have no {part}, first {lacking[0]}: move them, or choose "
            "another part with --person"
        )
    return _across_days(pictures, {row.path: row.parts[part] for row in pictures.rows}, answers, ask)


def _candidates(pictures: Pictures, modalities: Mapping[str, Modality]) -> list[str]:
    """Every part that may be the person, folders before names."""
    parts = pictures.columns or [*pictures.parts("folder"), *pictures.parts("name")]
    return [
        part
        for part in parts
        if _may_be_person(pictures.values(part)) and not tells_modality(pictures.rows, part, modalities)
    ]


def tells_modality(rows: Iterable[Picture], part: str, modalities: Mapping[str, Modality]) -> bool:
    """Whether a part has two names, each of one modality: day and night, say."""
    pairs = {(row.parts[part], modalities[row.path]) for row in rows if part in row.parts}
    return len(pairs) == 2 and len({name for name, _ in pairs}) == 2 == len({kind for _, kind in pairs})


def _may_be_person(values: Mapping[str, int]) -> bool:
    telling = [camera_of, modality_of, split_of]
    said = any(all(tell(value) is not None for value in values) for tell in telling)
    passing = all(is_date(value) or is_tracklet(value) for value in values)
    return len(values) > 1 and not said and not passing and max(values.values()) > 1


def _sure(
    pictures: Pictures, candidates: Sequence[str], modalities: Mapping[str, Modality]
) -> dict[str, str] | None:
    if pictures.columns:
        named = [part for part in _COLUMNS if part in {name.lower() for name in pictures.columns}]
        chosen = next((name for name in pictures.columns if named and name.lower() == named[0]), None)
        return None if chosen is None or len(named) > 1 else _taken(pictures.rows, chosen)
    said = [part for part in candidates if all(says_person(value) for value in pictures.values(part))]
    market = _by_market(pictures.rows)
    folders = [part for part in candidates if part.startswith("folder")]
    if len(said) == 1 and market is None:
        return _taken(pictures.rows, said[0])
    if market is not None:
        others = [_taken(pictures.rows, part) for part in folders]
        return market if all(_same(market, one) for one in others) else None
    if len(folders) == 1 and not said:
        found = _taken(pictures.rows, folders[0])
        return found if found and _in_both(found, modalities) else None
    return None


def _taken(rows: Iterable[Picture], part: str) -> dict[str, str] | None:
    found = {row.path: row.parts.get(part, "") for row in rows}
    return found if all(found.values()) else None


def _by_market(rows: Iterable[Picture]) -> dict[str, str] | None:
    """The persons that names such as 0001_c1s1_000151_01 begin with, where every picture has one."""
    found = {}
    for row in rows:
        match = MARKET.match(f"{row.stem}_")
        if match is None:
            return None
        found[row.path] = match[1]
    return found


def _same(one: Mapping[str, str], other: Mapping[str, str] | None) -> bool:
    return other is not None and all(_number(one[path]) == _number(other[path]) for path in one)


def _number(text: str) -> str:
    return text.lstrip("0") if text.isdigit() else text


def _in_both(found: Mapping[str, str], modalities: Mapping[str, Modality]) -> bool:
    """Whether some names are of pictures of both modalities, as people's are and numbers of passages mostly not."""
    seen: dict[Modality, set[str]] = {modality: set() for modality in Modality}
    for path, name in found.items():
        seen[modalities[path]].add(name)
    return bool(seen[Modality.VISIBLE] & seen[Modality.INFRARED])


def _days(pictures: Pictures, found: Mapping[str, str]) -> dict[str, str]:
    """The day of every picture, where one name stands under several; else nothing."""
    day = {row.path: next((one for one in row.folders if is_date(one)), "") for row in pictures.rows}
    of: dict[str, set[str]] = {}
    for path, name in found.items():
        of.setdefault(name, set()).add(day[path])
    return day if any(len(days) > 1 for days in of.values()) else {}


def _across_days(
    pictures: Pictures, found: dict[str, str], answers: Answers, ask: Ask | None
) -> dict[str, str]:
    day = {} if pictures.columns else _days(pictures, found)
    if not day:
        return found
    question = Question(
        "across-days",
        f"Person {next(iter(found.values()))} and others stand under several days. Is that the same person each time?",
        (("same", "one person, whatever the day"), ("apart", "each day counts its people anew")),
    )
    if answers.get(question, ask) == "same":
        return found
    return {path: f"{day[path]}/{name}" for path, name in found.items()}


def _some(values: Mapping[str, int]) -> str:
    shown = ", ".join(sorted(values)[:SHOWN])
    return f"{shown}, ... ({len(values):,} in all)" if len(values) > SHOWN else shown
