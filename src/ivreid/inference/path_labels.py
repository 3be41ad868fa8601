"""Who is on a picture, and what kind of camera saw it, as far as the names of its folders say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

from ivreid.datasets import get_reader, recognise
from ivreid.errors import UsageError
from ivreid.types import NO_CAMERA, UNKNOWN_PID, Modality

Identity = Literal["outer", "inner", "none"]
"""Which of several numbered folders above a picture names the person."""

_WORDS = {
    **dict.fromkeys(("visible", "vis", "test_vis", "rgb"), Modality.VISIBLE),
    **dict.fromkeys(("infrared", "thermal", "nir", "test_nir", "ir"), Modality.INFRARED),
}
_NUMBER = re.compile(r"[0-9]{1,9}")
_ABOVE = 4
"""As many folders above the given one are looked at: what is given may lie inside a dataset."""


def pid_and_camera(file: str, identity: str | None = None) -> tuple[int, int]:
    """The numbers that the folders above a picture name.

    Args:
        file: Its path from the folder that was given.
        identity: Which numbered folder counts, where several lie above it.

    Raises:
        UsageError: Several numbered folders, and `identity` does not say which; or several cameras.
    """
    folders = file.split("/")[:-1]
    numbered = [part for part in folders if _NUMBER.fullmatch(part)]
    cameras = [int(part[3:]) for part in folders if re.fullmatch(r"cam[0-9]{1,4}", part)]
    if len(cameras) > 1:
        raise UsageError(f"{file} lies in the folders of {len(cameras)} cameras; rename or divide them")
    if len(numbered) > 1 and identity is None:
        raise UsageError(
            f"{file} lies in {len(numbered)} numbered folders; say which one names the person: "
            f"outer ({numbered[0]}), inner ({numbered[-1]}), or none (--identity)"
        )
    pid = UNKNOWN_PID
    if numbered and identity != "none":
        pid = int(numbered[0] if identity == "outer" else numbered[-1])
    return pid, (cameras[0] if cameras else NO_CAMERA)


def check_identity(identity: str | None) -> None:
    """Refuse a word that says nothing about numbered folders.

    Raises:
        UsageError: The word is none of outer, inner and none.
    """
    if identity not in (None, *get_args(Identity)):
        raise UsageError(f"identity {identity!r} is unknown; it is {', '.join(get_args(Identity))}")


def shared_numbers(who: Mapping[str, int]) -> Iterator[str]:
    """A line for pids that folders of several names give: one person, or several who share a day's number.

    Args:
        who: The pid of every picture, by its path.
    """
    places: dict[int, set[str]] = {}
    for file, pid in who.items():
        if pid == UNKNOWN_PID:
            continue
        parts = file.split("/")[:-1]
        at = next(n for n, part in enumerate(parts) if _NUMBER.fullmatch(part) and int(part) == pid)
        named = [
            p for p in parts[:at] if not re.fullmatch(r"[0-9]+|cam[0-9]+", p) and p.lower() not in _WORDS
        ]
        places.setdefault(pid, set()).add("/".join(named))
    shared = {pid: sorted(found) for pid, found in places.items() if len(found) > 1}
    if shared:
        pid, found = next(iter(shared.items()))
        yield (
            f"{len(shared):,} pid(s) lie in several folders and count as one person each, first {pid}: in "
            f"{', '.join(place or '.' for place in found[:3])}"
        )


def refuse_other_modality(
    root: Path, files: tuple[str, ...], layouts: Mapping[str, str], modality: Modality
) -> None:
    """Refuse pictures of which the layout of a dataset, or a folder's name, says the other modality.

    Args:
        root: The folder that was given.
        files: Paths from there.
        layouts: The folders below `root` with a dataset's layout, and its name.
        modality: What was said.

    Raises:
        UsageError: The message names a picture, and what says otherwise.
    """
    here = Path(os.path.abspath(root))  # noqa: PTH100 - the name as given, not where a link leads
    above = _layout_above(here)
    known = _word_above(here)
    for file in files:
        found, why = _said(file, layouts, above, known)
        if found not in (None, modality):
            raise UsageError(
                f"{root / file} {why}, but the modality is {modality.value!r}; embed the folders of the two "
                "modalities one by one, or rename a folder whose name misleads"
            )


def modalities_said(
    root: Path, files: tuple[str, ...], layouts: Mapping[str, str]
) -> dict[str, Modality | None]:
    """The modality of every picture by the layout of a dataset or a folder's name; None where nothing says it.

    Args:
        root: The folder that was given.
        files: Paths from there.
        layouts: The folders below `root` with a dataset's layout, and its name.
    """
    here = Path(os.path.abspath(root))  # noqa: PTH100 - the name as given, not where a link leads
    above, known = _layout_above(here), _word_above(here)
    return {file: _said(file, layouts, above, known)[0] for file in files}


def _said(
    file: str, layouts: Mapping[str, str], above: tuple[str, str] | None, known: tuple[Modality | None, str]
) -> tuple[Modality | None, str]:
    """What is said about one picture: by the nearest layout, else by the nearest folder's name."""
    parts = file.split("/")
    for at in range(len(parts) - 1, -1, -1):
        folder = "/".join(parts[:at])
        if folder in layouts:
            return _by_layout(layouts[folder], "/".join(parts[at:]))
    if above is not None:
        return _by_layout(above[0], f"{above[1]}/{file}")
    for part in reversed(parts[:-1]):
        if (found := _WORDS.get(part.lower())) is not None:
            return found, f"lies in a folder {part!r}"
    return known


def _by_layout(name: str, path: str) -> tuple[Modality | None, str]:
    found = get_reader(name).modality_of(path)
    return found, f"is {found} by the layout of {name} ({path.rpartition('/')[0]})"


def _layout_above(here: Path) -> tuple[str, str] | None:
    """The layout that a folder lies in, and its path there."""
    for folder in list(here.parents)[:_ABOVE]:
        if name := recognise(folder):
            return name, here.relative_to(folder).as_posix()
    return None


def _word_above(here: Path) -> tuple[Modality | None, str]:
    """What the folder's own name says, or that of one above which stands beside one of the other modality."""
    for folder in (here, *list(here.parents)[:_ABOVE]):
        found = _WORDS.get(folder.name.lower())
        if found is not None and (folder == here or _has_counterpart(folder, found)):
            return found, f"lies in a folder {folder.name!r}"
    return None, ""


def _has_counterpart(folder: Path, modality: Modality) -> bool:
    try:
        return any(_WORDS.get(one.name.lower(), modality) != modality for one in folder.parent.iterdir())
    except OSError:
        return False
