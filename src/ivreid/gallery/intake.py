"""From folders and tables to crops to take in: what the options, columns, names and files say of each picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ivreid.datasets.found_pictures import find_pictures
from ivreid.errors import DataError, IvreidError, UsageError, did_you_mean
from ivreid.gallery.patterns import Pattern, parse_time
from ivreid.gallery.pictures import exif_time
from ivreid.gallery.record import Crop, pixel_digest
from ivreid.inference.path_labels import (
    check_identity,
    modalities_said,
    pid_and_camera,
    refuse_other_modality,
)
from ivreid.io import ValueRange, read_image, to_rgb
from ivreid.paths import not_there
from ivreid.reading import clean, parse_json, read_text
from ivreid.types import NO_CAMERA, UNKNOWN_PID, Modality

MANIFESTS = ("manifest.csv", "manifest.jsonl")
"""A folder that holds one is read by it."""
COLUMNS = ("path", "camera", "time", "modality", "tracklet", "pid", "quality", "source")
NEEDED = ("path",)

TimeWord = Literal["exif", "modified"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of all pictures, where columns and names do not say it.

    Attributes:
        camera: Its name.
        modality: Visible or infrared.
        time: When they were taken; "exif" or "modified" asks each file.
        zone: Of times that do not say theirs.
        tracklet: The track they belong to.
        pid: The person.
        pattern: What the files' names say; it goes before all of these.
        identity: Of several numbered folders above a picture, which names the person: outer, inner or none.
    """

    camera: str | None = None
    modality: Modality | None = None
    time: datetime | TimeWord | None = None
    zone: tzinfo | None = None
    tracklet: str | None = None
    pid: int | None = None
    pattern: Pattern | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        check_identity(self.identity)
        if isinstance(self.time, datetime):
            object.__setattr__(self, "time", with_zone(self.time, self.zone))


@dataclass(frozen=True, kw_only=True, eq=False)
class NewCrop:
    """A picture to take in, and what is known of it; see `Crop`.

    Attributes:
        image: A file or a Pillow image.
        time: With its zone; "exif" or "modified" asks the file.
    """

    image: Path | Image.Image
    camera: str
    time: datetime | TimeWord
    modality: Modality
    tracklet: str | None = None
    pid: int = UNKNOWN_PID
    quality: float | None = None
    source: str = ""
    zone: tzinfo | None = None

    def taken(self) -> datetime:
        """When it was taken.

        Raises:
            DataError: The file does not say, or says no zone.
        """
        if isinstance(self.time, datetime):
            return self.time
        if not isinstance(self.image, Path):
            raise UsageError(f"an image in memory has no time {self.time!r}; give one")
        if self.time == "exif":
            return exif_time(self.image, self.zone)
        try:
            return datetime.fromtimestamp(self.image.stat().st_mtime, UTC)
        except OSError as error:
            raise DataError(f"cannot read {clean(self.image)}: {error.strerror or error}") from error

    def read(self, rule: ValueRange) -> tuple[Crop, Image.Image]:
        """Read the picture: what a gallery holds of it, and its pixels.

        Args:
            rule: How grey of more than eight bits becomes 256 greys.

        Raises:
            ImageError: It cannot be read, or not by this rule.
            DataError: As `taken`.
        """
        image = read_image(self.image, rule) if isinstance(self.image, Path) else to_rgb(self.image, rule)
        crop = Crop(
            pixels=pixel_digest(image),
            camera=self.camera,
            time=self.taken(),
            modality=self.modality,
            tracklet=self.tracklet,
            pid=self.pid,
            quality=self.quality,
            source=self.source,
        )
        return crop, image


def with_zone(time: datetime, zone: tzinfo | None) -> datetime:
    """The time, in a zone where it says none."""
    return time if time.utcoffset() is not None or zone is None else time.replace(tzinfo=zone)


def new_crops(source: Path, told: Told) -> tuple[list[NewCrop], tuple[str, ...]]:
    """The pictures of a folder, a file, or a table (.csv, .jsonl).

    Returns:
        The pictures, sorted as they were found, and lines about what was left out.

    Raises:
        DataError: Nothing there, or no camera, time or modality of a picture; all are looked at before.
        UsageError: Pictures of the other modality than was said.
    """
    if source.is_dir():
        for name in MANIFESTS:
            if (source / name).is_file():
                return _from_table(source / name, told), ()
        return _from_folder(source, told)
    if not source.is_file():
        raise DataError(f"{source}: no such folder, table or picture{not_there(source)}")
    if source.suffix.lower() in (".csv", ".jsonl"):
        return _from_table(source, told), ()
    return [_made(source, source.name, {}, told)], ()


def _from_folder(root: Path, told: Told) -> tuple[list[NewCrop], tuple[str, ...]]:
    found = find_pictures(root)
    crops, problems = crops_of(root, found.files, told, found.layouts)
    _refuse(root, problems)
    return crops, tuple(found.notes())


def crops_of(
    root: Path, files: tuple[str, ...], told: Told, layouts: Mapping[str, str] | None = None
) -> tuple[list[NewCrop], list[str]]:
    """Pictures below a folder.

    Args:
        root: The folder.
        files: Paths from there, with forward slashes.
        told: What is said of all.
        layouts: The folders in it with a dataset's layout, and its name.

    Returns:
        The pictures of which everything is known, and a sentence about each other.

    Raises:
        UsageError: Pictures of the other modality than was said.
    """
    said: Mapping[str, Modality | None] = {}
    if told.modality is not None:
        refuse_other_modality(root, files, layouts or {}, told.modality)
    else:
        said = modalities_said(root, files, layouts or {})
    crops, problems = [], []
    for file in files:
        pid, camid = pid_and_camera(file, told.identity)
        values: dict[str, Any] = {
            "pid": pid if pid != UNKNOWN_PID and told.pid is None else None,
            "camera": f"cam{camid}" if camid != NO_CAMERA and told.camera is None else None,
            "modality": said.get(file),
        }
        try:
            crops.append(_made(root / file, file, values, told))
        except DataError as error:
            problems.append(str(error))
    return crops, problems


def _from_table(table: Path, told: Told) -> list[NewCrop]:
    crops, problems = [], []
    for line, row in _rows(table):
        try:
            path = Path(row["path"])
            crops.append(_made(table.parent / path, row["path"].replace("\\", "/"), row, told))
        except IvreidError as error:
            problems.append(f"line {line}: {error}")
    _refuse(table, problems)
    if not crops:
        raise DataError(f"{table} names no picture")
    return crops


def _refuse(source: Path, problems: list[str]) -> None:
    if problems:
        more = f"\n  and {len(problems) - 10:,} more" if len(problems) > 10 else ""
        shown = "\n  ".join(problems[:10])
        raise DataError(f"{source}: nothing was added, for {len(problems):,} picture(s):\n  {shown}{more}")


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = read_text(table, 1 << 30)
    if table.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                row = parse_json(line, f"{clean(table)}, line {number}")
                if not isinstance(row, dict):
                    raise DataError(f"{clean(table)}, line {number} is no JSON object")
                _check_columns(table, row)
                yield number, {name: value for name, value in row.items() if value is not None}
        return
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        _check_columns(table, dict.fromkeys(name.strip() for name in reader.fieldnames or ()))
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{clean(table)}, line {reader.line_num}: other than {len(reader.fieldnames)} values"
                )
            yield reader.line_num, {name: cell.strip() for name, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise DataError(f"{clean(table)}, line {reader.line_num} is no CSV ({error})") from error


def _check_columns(table: Path, names: Mapping[str, Any]) -> None:
    for name in NEEDED:
        if name not in names:
            raise DataError(f"{clean(table)} has no column {name!r}; its columns may be {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            raise DataError(
                f"{clean(table)} has an unknown column {clean(name, 40)!r}; {did_you_mean(name, COLUMNS)}"
            )


def _made(path: Path, name: str, row: Mapping[str, Any], told: Told) -> NewCrop:
    """A picture with what its row, its name and the options say; what is nearest to it goes before."""
    values: dict[str, Any] = {
        "camera": told.camera, "time": told.time, "modality": told.modality,
        "tracklet": told.tracklet, "pid": told.pid,
    }  # fmt: skip
    values |= {key: value for key, value in row.items() if value is not None}
    if told.pattern is not None:
        values |= told.pattern.read(name)
    missing = [what for what in ("camera", "time", "modality") if values.get(what) in (None, "")]
    if missing:
        raise DataError(
            f"{clean(name)}: nothing says its {' and '.join(missing)}; give "
            f"{', '.join(f'--{what}' for what in missing)}, a column, or a --pattern of the files' names"
        )
    modality = Modality.called(str(values["modality"]))
    if modality is None:
        raise DataError(
            f"{clean(name)}: the modality is {clean(values['modality'], 40)!r}; it is visible or infrared"
        )
    time = values["time"]
    if (isinstance(time, str) and time not in ("exif", "modified")) or isinstance(time, int | float):
        time = parse_time(str(time), where=clean(name))
    if isinstance(time, datetime):
        time = with_zone(time, told.zone)
        if time.utcoffset() is None:
            raise DataError(
                f"{clean(name)}: the time {time.isoformat()} has no zone; write it with one, or name one for all "
                "(--zone Europe/Berlin)"
            )
    return NewCrop(
        image=path,
        camera=str(values["camera"]),
        time=time,
        modality=modality,
        tracklet=None if values.get("tracklet") in (None, "") else str(values["tracklet"]),
        pid=_whole(values.get("pid"), name),
        quality=_quality(values.get("quality"), name),
        source=str(values.get("source") or path),
        zone=told.zone,
    )


def _whole(value: Any, name: str) -> int:
    if value in (None, ""):
        return UNKNOWN_PID
    try:
        return int(str(value).removesuffix(".0"))
    except ValueError as error:
        raise DataError(
            f"{clean(name)}: the pid is {clean(value, 40)!r}; it must be a whole number"
        ) from error


def _quality(value: Any, name: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{clean(name)}: the quality is {clean(value, 40)!r}; it must be a number") from error
