"""What kind of camera took a picture, and which one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ivreid.errors import UsageError
from ivreid.owndata.answers import Answers, Ask, Question
from ivreid.owndata.persons import tells_modality
from ivreid.owndata.pictures import Picture, Pictures
from ivreid.owndata.words import (
    camera_in,
    camera_of,
    is_date,
    is_tracklet,
    modality_of,
    says_person,
    split_of,
)
from ivreid.types import NO_CAMERA, Modality

NONE = "none"
_MODALITY_COLUMNS = ("modality", "spectrum", "sensor", "domain", "type", "kind")
_CAMERA_COLUMNS = ("camid", "camera", "cam", "camera_id", "cam_id", "cameraid")
_NUMBERED = ("cam", "camera", "c")


def modality_of_all(pictures: Pictures, answers: Answers, ask: Ask | None) -> dict[str, Modality]:
    """The modality of every picture, by its path.

    Raises:
        UsageError: Nobody can be asked, or the answer marks no picture, or all.
    """
    said = {row.path: _told(row, pictures) for row in pictures.rows}
    if answers.infrared is None and all(len(found) == 1 for found in said.values()):
        found = {path: modality for path, (modality,) in said.items()}
        if len(set(found.values())) == 2:
            return found
        only = next(iter(found.values()))
        raise UsageError(
            f"{pictures.root}: every picture is {only}, by its name; two modalities are needed. Give the folder above "
            "both, or say which pictures are infrared with --infrared"
        )
    unclear = next((path for path, found in said.items() if len(found) != 1), pictures.rows[0].path)
    question = Question(
        "infrared",
        f"Which pictures are infrared? {unclear} does not tell. Name what marks them: cameras, folders, parts of names "
        f"or column values, with commas; there are {_marks(pictures)}",
        example="cam3,cam6",
    )
    answer = answers.get(question, ask)
    marks = {one.strip().lower() for one in answer.split(",") if one.strip()}
    found = {
        row.path: Modality.INFRARED if _marked(row, marks) else Modality.VISIBLE for row in pictures.rows
    }
    unused = sorted(mark for mark in marks if not any(_marked(row, {mark}) for row in pictures.rows))
    if unused or len(set(found.values())) < 2:
        why = (
            f"marks no picture: {', '.join(unused)}"
            if unused
            else f"marks {'all' if marks else 'no'} pictures"
        )
        raise UsageError(f"--infrared {answer!r} {why}; there are {_marks(pictures)}")
    return found


def _told(row: Picture, pictures: Pictures) -> tuple[Modality, ...]:
    """What the parts of one picture say of its modality, each answer once."""
    if pictures.columns:
        named = [name for name in pictures.columns if name.lower() in _MODALITY_COLUMNS]
        values = [row.parts.get(name, "") for name in named]
    else:
        values = list(row.parts.values())
    return tuple(dict.fromkeys(found for value in values if (found := modality_of(value)) is not None))


def _marked(row: Picture, marks: set[str]) -> bool:
    values = {value.lower() for value in row.parts.values()}
    number = _number_in(row)
    if number is not None:
        values |= {str(number), *(f"{word}{number}" for word in _NUMBERED)}
    return bool(values & marks)


def _number_in(row: Picture) -> int | None:
    """The camera that a picture's folders and name say, where they agree on one."""
    found = {number for folder in row.folders if (number := camera_of(folder)) is not None}
    found |= {number} if (number := camera_in(row.stem)) is not None else set()
    return found.pop() if len(found) == 1 else None


def _marks(pictures: Pictures) -> str:
    counted = Counter(
        part
        for row in pictures.rows
        for part in {*row.folders, *(row.parts.values() if pictures.columns else ())}
    )
    numbers = sorted({n for row in pictures.rows if (n := _number_in(row)) is not None})
    words = [f"cam{number}" for number in numbers]
    words += [name for name, _ in counted.most_common(12) if camera_of(name) is None and name not in words]
    return ", ".join(words[:16]) or "no marks in their names"


def camera_of_all(
    pictures: Pictures,
    modalities: Mapping[str, Modality],
    person: Mapping[str, str],
    answers: Answers,
    ask: Ask | None,
) -> tuple[dict[str, int], dict[str, int]]:
    """The camera of every picture, by its path, `NO_CAMERA` where its name says none; and the names of cameras.

    Raises:
        UsageError: Nobody can be asked, or the answer fits nothing.
    """
    names: dict[str, int] = {}
    part = _camera_part(pictures, modalities, person, answers, ask)
    if part == NONE:
        return dict.fromkeys((row.path for row in pictures.rows), NO_CAMERA), {}
    if part is None:
        found = {row.path: NO_CAMERA if (n := _number_in(row)) is None else n for row in pictures.rows}
    else:
        values = sorted(pictures.values(part))
        numbers = {value: _as_number(value) for value in values}
        if any(number is None for number in numbers.values()):
            names = {value: number for number, value in enumerate(values, 1)}
        told = names or {value: number or NO_CAMERA for value, number in numbers.items()}
        found = {row.path: told.get(row.parts.get(part, ""), NO_CAMERA) for row in pictures.rows}
    if 0 in found.values() and any(_as_number(v) == 0 for v in pictures.values(part or "")):
        found = {path: number + 1 for path, number in found.items()}  # cameras counted from 0
    return _apart(found, modalities, answers, ask), names


def _as_number(value: str) -> int | None:
    number = camera_of(value)
    return int(value) if number is None and value.isascii() and value.isdigit() and len(value) < 7 else number


def _camera_part(
    pictures: Pictures,
    modalities: Mapping[str, Modality],
    person: Mapping[str, str],
    answers: Answers,
    ask: Ask | None,
) -> str | None:
    """The part that names the camera; None where the usual words in names say it, or nothing does."""
    parts = [*pictures.columns] or pictures.parts("folder")
    if answers.camera is not None and answers.camera in (NONE, *pictures.parts(), *pictures.columns):
        return answers.camera
    if pictures.columns:
        named = [name for name in pictures.columns if name.lower() in _CAMERA_COLUMNS]
        if len(named) == 1 and answers.camera is None:
            return named[0]
        open_parts: Sequence[str] = named if len(named) > 1 else ()
    else:
        open_parts = [
            part
            for part in parts
            if _unexplained(pictures, part, person) and not tells_modality(pictures.rows, part, modalities)
        ]
        told = [_number_in(row) is not None for row in pictures.rows]
        if any(told) and answers.camera is None:
            return None
    if not open_parts and answers.camera is None:
        return None if not pictures.columns else NONE
    choices = [(part, f"such as {', '.join(sorted(pictures.values(part))[:3])}") for part in open_parts]
    question = Question(
        "camera",
        "Does one of these name the camera?",
        (*choices, (NONE, "no; cameras are unknown, and no camera rule holds in evaluation")),
    )
    return answers.get(question, ask)


def _unexplained(pictures: Pictures, part: str, person: Mapping[str, str]) -> bool:
    """Whether a folder's names are of several kinds and say nothing of what they are."""
    values = pictures.values(part)
    if len(values) < 2 or all(_names(person[row.path], row.parts.get(part)) for row in pictures.rows):
        return False
    known = (modality_of, split_of, camera_of)
    return not all(
        any(tell(value) is not None for tell in known)
        or is_date(value)
        or is_tracklet(value)
        or says_person(value)
        for value in values
    )


def _names(person: str, value: str | None) -> bool:
    """Whether a part is the person, also where the day stands before the person's number."""
    return value is None or person == value or person.endswith(f"/{value}")


def _apart(
    found: dict[str, int], modalities: Mapping[str, Modality], answers: Answers, ask: Ask | None
) -> dict[str, int]:
    """Cameras of the two modalities under numbers of their own, unless one device has both."""
    seen = {m: {n for path, n in found.items() if modalities[path] is m} - {NO_CAMERA} for m in Modality}
    shared = sorted(seen[Modality.VISIBLE] & seen[Modality.INFRARED])
    if not shared:
        return found
    question = Question(
        "same-cameras",
        f"Camera {', '.join(map(str, shared[:5]))} has pictures of both modalities. Is that one device in one place?",
        (
            ("shared", "yes: in evaluation an image by the query's own camera does not count"),
            ("apart", "no: two cameras that were numbered apart; the infrared ones get numbers of their own"),
        ),
    )
    if answers.get(question, ask) == "shared":
        return found
    above = max(seen[Modality.VISIBLE])
    return {
        path: number + above if number != NO_CAMERA and modalities[path] is Modality.INFRARED else number
        for path, number in found.items()
    }
