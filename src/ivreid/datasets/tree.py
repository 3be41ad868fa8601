"""The files under a dataset's root, each folder listed once; nothing outside the root is ever opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ivreid.datasets.problems import Kind, Problems
from ivreid.errors import DataError
from ivreid.io import IMAGE_SUFFIXES, MAX_FILE_BYTES, is_leftover
from ivreid.paths import near_spelling, not_there, odd_letters
from ivreid.reading import clean, decode_text

MAX_LIST_BYTES = 32 * 1024 * 1024
OUTSIDE = "a link to outside the dataset's folder is not followed; copy what it points to"


@dataclass(frozen=True)
class Folder:
    """What one folder holds, sorted.

    Attributes:
        folders: Names of its folders.
        files: Size in bytes of each of its files.
        refused: Entries that are not followed: the problem's kind and message.
    """

    folders: tuple[str, ...] = ()
    files: dict[str, int] = field(default_factory=dict)
    refused: dict[str, tuple[Kind, str]] = field(default_factory=dict)


NOTHING = Folder()
"""Shared by all folders that are not there: a list may name a million of them."""


class Tree:
    """Lists folders below a root and notes what is wrong with them.

    Attributes:
        root: The folder all relative paths start from.
        given: What the user named; differs from `root` where that is a file (a CSV).
        problems: What was found wrong so far.
        ignored: What file managers, archives and notebooks left, none of which is a picture.

    Raises:
        DataError: The root does not exist or is no folder.
    """

    def __init__(
        self, root: Path, given: Path | None = None, *, suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    ) -> None:
        if not root.is_dir():
            what = "is not a folder" if root.exists() else f"does not exist{not_there(root)}"
            raise DataError(f"{root} {what}; give the folder of the dataset")
        self.root, self.given = root, given or root
        self.problems = Problems()
        self.ignored: list[str] = []
        self._suffixes = suffixes
        self._real = os.path.realpath(root)
        self._listed: dict[str, Folder] = {}
        self._images: dict[str, dict[str, int]] = {}
        self._missing: set[str] = set()

    def folder(self, folder: str) -> Folder:
        """The folder's contents; whatever cannot be used in it is noted, and so is a missing folder."""
        listing = self._listing(folder)
        for name in listing.refused:
            self._note_refused(folder, name)
        return listing

    def peek(self, folder: str) -> Folder:
        """The folder's contents, without noting what in it cannot be used."""
        return self._listing(folder)

    def _listing(self, folder: str) -> Folder:
        if folder not in self._listed:
            self._listed[folder] = self._scan(folder)
        return self._listed[folder]

    def _note_refused(self, folder: str, name: str) -> bool:
        fault = self._listing(folder).refused.get(name)
        if fault:
            self.problems.add(fault[0], f"{folder}/{name}" if folder else name, fault[1])
        return fault is not None

    def has_folder(self, folder: str) -> bool:
        """Whether the folder is there, in exactly this spelling."""
        parent, name = _split(folder)
        return name in self._listing(parent).folders

    def has_file(self, path: str) -> bool:
        """Whether the file is there, in exactly this spelling, inside the root."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """The file's size in bytes, None where there is no such file inside the root."""
        parent, name = _split(path)
        return self._listing(parent).files.get(name)

    def images(self, folder: str) -> dict[str, int]:
        """Image files of a folder as name -> size, sorted; other and empty files are noted as problems."""
        if folder not in self._images:
            self._images[folder] = self._find_images(folder)
        return self._images[folder]

    def _find_images(self, folder: str) -> dict[str, int]:
        found = {}
        for name, size in self.folder(folder).files.items():
            path = f"{folder}/{name}"
            if is_leftover(name):  # "._0001.jpg" is not a picture
                self.ignored.append(path)
            elif not name.lower().endswith(self._suffixes):
                kinds = ", ".join(self._suffixes)
                self.problems.add(
                    Kind.STRAY_FILE, path, f"not an image ({kinds}); it is ignored", fatal=False
                )
            else:
                self.check_size(path, size)
                found[name] = size
        for name in self.folder(folder).folders:
            message = "a folder where only images belong; it is ignored"
            self.problems.add(Kind.STRAY_FILE, f"{folder}/{name}/", message, fatal=False)
        return found

    def check_size(self, path: str, size: int) -> None:
        """Note a file that cannot be an image because of its size."""
        if size == 0:
            self.problems.add(Kind.EMPTY_FILE, path, "the file has no bytes; copy it again")
        elif size > MAX_FILE_BYTES:
            self.problems.add(
                Kind.HUGE_FILE, path, f"{size:,} bytes is more than an image of a person can be"
            )

    def require_folders(self, folders: Iterable[str]) -> tuple[str, ...]:
        """Those of the folders that exist; each missing one is noted."""
        return tuple(f for f in folders if self.has_folder(f) or self.note_missing_folder(f))

    def note_missing_folder(self, folder: str) -> bool:
        """Note that a folder is missing, with the nearest existing spelling; always False."""
        if self._note_refused(*_split(folder)):
            return False
        self.problems.add(
            Kind.MISSING_FOLDER, folder, f"no such folder under {self.root}{self._hint(folder, False)}"
        )
        return False

    def note_missing_file(self, path: str, where: str = "", fatal: bool = True) -> None:
        """Note that a file is missing, with the nearest existing spelling and the list that names it."""
        if path in self._missing or self._note_refused(*_split(path)):
            return  # told once, though ten lists may name it
        self._missing.add(path)
        message = f"no such file{f'; {where} names it' if where else ''}{self._hint(path, True)}"
        self.problems.add(Kind.MISSING_FILE, path, message, fatal=fatal)

    def read_text(self, path: str, *, required: bool = True, limit: int = MAX_LIST_BYTES) -> str | None:
        """The text of a list file; None (and a problem) where it is missing, too large, or not text."""
        size = self.size(path)
        if size is None:
            self.note_missing_file(path, fatal=required)
            return None
        if size > limit:
            self.problems.add(Kind.MALFORMED, path, f"{size:,} bytes is too large for a list", fatal=required)
            return None
        try:
            data = (self.root / path).read_bytes()
        except OSError as error:
            self.problems.add(Kind.UNREADABLE, path, error.strerror or str(error), fatal=required)
            return None
        try:
            return decode_text(data, path)
        except DataError:
            self.problems.add(Kind.MALFORMED, path, "not a UTF-8 text file", fatal=required)
        return None

    def _inside(self, folder: str) -> bool:
        real = os.path.realpath(os.path.join(self.root, folder))  # noqa: PTH118 - called for every folder
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)

    def _hint(self, path: str, file: bool) -> str:
        parent, name = _split(path)
        near = self._listed.get(parent, Folder())
        names = near.files if file else near.folders
        if there := near_spelling(name, (*names, *near.refused)):
            return f"; {there}"
        if not file and not parent:
            for other in near.folders:  # the folder above the dataset was given
                if (self.root / other / name).is_dir():
                    return f"; it is under {other}/, so give {self.root / other}"
        return ""

    def _scan(self, folder: str) -> Folder:
        folders, files, refused = [], {}, {}
        if not self._inside(folder):
            self.problems.add(Kind.ESCAPE, folder, OUTSIDE)
            return Folder()
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    fault = self._fault(entry, folder)
                    if is_leftover(entry.name) and (fault or entry.is_dir()):
                        self.ignored.append(f"{folder}/{entry.name}/" if folder else f"{entry.name}/")
                    elif fault:
                        refused[entry.name] = fault
                    elif entry.is_dir():
                        folders.append(entry.name)
                    else:
                        files[entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            self.problems.add(Kind.MISSING_FOLDER, folder, f"no such folder under {self.root}")
            return NOTHING
        except (ValueError, UnicodeError) as error:  # a name that no folder can have
            self.problems.add(Kind.UNREADABLE, folder, clean(error))
            return NOTHING
        except OSError as error:
            self.problems.add(Kind.UNREADABLE, folder or ".", error.strerror or str(error))
        return Folder(tuple(sorted(folders)), dict(sorted(files.items())), refused)

    def _fault(self, entry: os.DirEntry[str], folder: str) -> tuple[Kind, str] | None:
        if odd := odd_letters(entry.name):  # also bytes that are not UTF-8: they cannot be hashed
            return Kind.WRONG_NAME, f"the name {odd}"
        if entry.is_symlink() and not self._inside(f"{folder}/{entry.name}" if folder else entry.name):
            return Kind.ESCAPE, OUTSIDE
        try:
            known = entry.is_dir() or entry.is_file()
        except OSError:  # a link to itself
            known = False
        if known:
            return None
        return (
            Kind.MISSING_FILE,
            "a link that leads nowhere" if entry.is_symlink() else "neither file nor folder",
        )


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name


def bad_path(text: str) -> str | None:
    """Why a listed path cannot be used, or None: it must be relative, plain, with forward slashes."""
    if "\\" in text:
        return "has backslashes; write forward slashes"
    if text.startswith("/") or (len(text) > 1 and text[1] == ":"):
        return "is absolute; write it relative to the dataset's folder"
    if ".." in PurePosixPath(text).parts:
        return "leads out of the dataset's folder"
    if odd := odd_letters(text):
        return odd
    if str(PurePosixPath(text)) != text or text == ".":
        return "is not written plainly; leave out './', '//' and trailing '/'"
    return None
