"""Pictures in any folder, which need be no dataset: all of them, each once, and word of everything left out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ivreid.datasets.problems import printable
from ivreid.datasets.registry import recognise_entries
from ivreid.errors import DataError
from ivreid.io import OWN_SUFFIXES, is_leftover, is_picture
from ivreid.paths import odd_letters

LEFTOVER = "left by file managers, archives or notebooks"
SECOND_NAME = "folders that were read under another name already"
SHOWN = 20


@dataclass(frozen=True)
class FoundPictures:
    """What lies below a folder.

    Attributes:
        root: The folder.
        files: The pictures' paths from there, with forward slashes, sorted.
        left_out: By reason, the paths of what is no picture, or was read already.
        layouts: The folders that have a dataset's layout, with its name; "" is the root.
        unreadable: What cannot be read, with the reason; told as an error unless asked for.
    """

    root: Path
    files: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    layouts: Mapping[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """What was left out, a line for each reason."""
        for reason, paths in self.left_out.items():
            shown = ", ".join(map(printable, paths[:SHOWN]))
            more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
            yield f"left out, {reason} ({len(paths):,}): {shown}{more}"


def find_pictures(root: Path | str, *, go_on: bool = False) -> FoundPictures:
    """Every picture below a folder, behind links too, wherever they lead; each folder is read once.

    A linked folder counts by its own name where the folder itself does not lie below the root; links that lead
    back are left out, and so are those to what was read before.

    Args:
        root: The folder.
        go_on: Take what can be read, though some of it cannot.

    Raises:
        DataError: No such folder, no picture in it, folders that cannot be read (all of them named), or names
            that cannot be written down.
    """
    search = _Search(Path(root))
    search.run()
    if search.faults and not (go_on and search.files):
        shown = "\n  ".join(f"{path}: {why}" for path, why in list(search.faults.items())[:SHOWN])
        more = f"\n  and {len(search.faults) - SHOWN:,} more" if len(search.faults) > SHOWN else ""
        raise DataError(f"{root}: {len(search.faults):,} part(s) of it cannot be read:\n  {shown}{more}")
    if not search.files:
        left = "; ".join(f"{len(paths):,} {reason}" for reason, paths in search.left_out.items())
        raise DataError(
            f"{root} holds no image ({', '.join(OWN_SUFFIXES)}){f'; left out: {left}' if left else ''}"
        )
    left_out = {reason: tuple(sorted(paths)) for reason, paths in sorted(search.left_out.items())}
    return FoundPictures(search.root, tuple(sorted(search.files)), left_out, search.layouts, search.faults)


class _Search:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[str] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self.layouts: dict[str, str] = {}
        self.faults: dict[str, str] = {}
        self._pending, self._linked = [""], list[str]()
        self._seen = set[str]()

    def run(self) -> None:
        """Read folders, and only then those behind links: of two names of a folder its own counts."""
        while self._pending or self._linked:
            folder = self._pending.pop() if self._pending else self._linked.pop(0)
            real = os.path.realpath(self.root / folder)
            if real in self._seen:
                self.left_out[SECOND_NAME].append(f"{folder}/")
                continue
            self._seen.add(real)
            try:
                with os.scandir(self.root / folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.faults[printable(folder or ".")] = error.strerror or str(error)
                continue
            for entry in found:
                self._sort(entry, f"{folder}/{entry.name}" if folder else entry.name)
            if layout := recognise_entries(entry.name for entry in found):
                self.layouts[folder] = layout

    def _sort(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if is_leftover(entry.name):
            self.left_out[LEFTOVER].append(f"{path}/" if is_folder else path)
        elif (is_folder or is_picture(entry.name)) and (odd := odd_letters(entry.name)):
            self.faults[printable(path)] = f"the name {odd}"
        elif is_folder:
            (self._linked if entry.is_symlink() else self._pending).append(path)
        elif not is_file:
            reason = "links that lead nowhere" if entry.is_symlink() else "neither files nor folders"
            self.left_out[reason].append(path)
        elif not is_picture(entry.name):
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - one for every file
            self.left_out[f"no pictures that are read ({suffix or 'no suffix'})"].append(path)
        else:
            self.files.append(path)
