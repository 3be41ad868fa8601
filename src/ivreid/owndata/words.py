"""What one folder's name, or one part of a file's name, says by itself."""

from __future__ import annotations

import re

from ivreid.types import Modality

_VISIBLE = ("visible", "vis", "rgb", "color", "colour", "colored", "coloured", "vl")
_INFRARED = ("infrared", "ir", "nir", "tir", "lwir", "mwir", "swir", "thermal", "thermo", "nearinfrared")
_LONG = 5
"""Letters from which a word counts inside another one: `thermalcam`, but not `davis`."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CAMERA = re.compile(r"c(?:am(?:era)?)?[-_ ]?0*([0-9]{1,6})(?:s[0-9]+)?", re.IGNORECASE)
_CAMERA_IN_NAME = re.compile(
    r"(?:^|[_\-. ])c(?:am(?:era)?)?[-_ ]?0*([0-9]{1,6})(?:s[0-9]+)?(?=$|[_\-. ])", re.IGNORECASE
)
_DATE = re.compile(
    r"(?:(?:day|date|session|rec|recording)[-_ ]?)?"
    r"(?:(?:19|20)[0-9]{2}[-_.]?[01][0-9][-_.]?[0-3][0-9](?:[-_T ].*)?|[0-3][0-9]\.[01][0-9]\.(?:19|20)[0-9]{2})",
    re.IGNORECASE,
)
_TRACKLET = re.compile(r"(?:t|trk|track|tracklet|seq|sequence|clip|scene|frame)[-_ ]?[0-9]+", re.IGNORECASE)
_PERSON = re.compile(
    r"(?:p|pid|id|person|people|identity|subject|subj|ped|pedestrian)[-_ ]?[0-9]+", re.IGNORECASE
)
_SPLITS = {
    **dict.fromkeys(("train", "training", "bounding_box_train"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing", "query", "gallery", "bounding_box_test"), "test"),
}
MARKET = re.compile(r"(-?[0-9]{1,6}|[A-Za-z]+[0-9]+)_c[0-9]+(?:s[0-9]+)?[_.-]")
"""The beginning of names such as 0001_c1s1_000151_01: the person, then the camera."""


def modality_of(text: str) -> Modality | None:
    """The modality that a name says in any spelling (`RGB`, `Thermal_Images`, `nearInfrared`); None for none, or both."""
    words = [word.lower() for word in _WORD.findall(text)] + [re.sub(r"[^a-z]", "", text.lower())]
    found = {
        modality
        for modality, known in ((Modality.VISIBLE, _VISIBLE), (Modality.INFRARED, _INFRARED))
        for word in words
        if any(word == one or (len(one) >= _LONG and one in word) for one in known)
    }
    return found.pop() if len(found) == 1 else None


def camera_of(folder: str) -> int | None:
    """The camera that a folder's whole name says: `cam1`, `Camera-02`, `c3`."""
    found = _CAMERA.fullmatch(folder)
    return int(found[1]) if found else None


def camera_in(stem: str) -> int | None:
    """The camera that part of a file's name says: `0001_c1s1_000151_01`."""
    found = {int(one) for one in _CAMERA_IN_NAME.findall(stem)}
    return found.pop() if len(found) == 1 else None


def is_date(text: str) -> bool:
    """Whether it is a day, such as 2023-05-01, 20230501 or day_2023-05-01."""
    return _DATE.fullmatch(text) is not None


def is_tracklet(text: str) -> bool:
    """Whether it says that it is a tracklet, sequence or frame: a number of one person's passage, not the person's."""
    return _TRACKLET.fullmatch(text) is not None


def says_person(text: str) -> bool:
    """Whether it says that it is a person: `person_7`, `pid12`, `p003`."""
    return _PERSON.fullmatch(text) is not None


def split_of(text: str) -> str | None:
    """The split that a folder's name says."""
    return _SPLITS.get(text.lower())
