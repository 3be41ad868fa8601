"""From a folder or table of pictures to a table that training reads, and a configuration for it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ivreid.datasets import DATASETS, load_dataset, recognise
from ivreid.datasets.identities import is_name, map_beside
from ivreid.errors import DataError, UsageError
from ivreid.io import check_output, starting_with, write_text
from ivreid.owndata.answers import Answers, Ask
from ivreid.owndata.configuration import configuration_text
from ivreid.owndata.persons import person_of
from ivreid.owndata.pictures import Pictures, pictures_in
from ivreid.owndata.sensors import camera_of_all, modality_of_all
from ivreid.owndata.words import split_of
from ivreid.paths import not_there
from ivreid.reading import clean
from ivreid.types import NO_CAMERA, Modality

TABLE = starting_with("tables", ".csv", b"path,pid,modality")
JUNK = "-1"
"""The person that Market-1501 calls so is nobody: a bad crop."""
EXAMPLES = 3
SAMPLE = 50
"""Pictures whose height is looked at."""
_SPLIT_COLUMNS = ("split", "set", "subset", "partition")


@dataclass(frozen=True)
class InitSummary:
    """What was understood and written.

    Attributes:
        table: The table of pictures.
        config: The configuration that trains on it.
        pictures: How many pictures it lists.
        people: How many people are on them.
        modalities: Pictures of each modality.
        cameras: The name or number of each camera, and its number in the table.
        without_camera: Pictures whose camera is unknown.
        splits: People in each split, where names say it.
        examples: Three pictures and what is understood of them, in lines for people.
        notes: What was left out, in lines for people.
    """

    table: Path
    config: Path
    pictures: int
    people: int
    modalities: Mapping[Modality, int]
    cameras: Mapping[str, int]
    without_camera: int
    splits: Mapping[str, int]
    examples: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    path: str
    person: str
    modality: Modality
    camid: int
    split: str


def init_dataset(
    source: Path | str,
    *,
    out: Path | str | None = None,
    config: Path | str | None = None,
    answers: Answers | None = None,
    ask: Ask | None = None,
    scratch: bool = False,
    overwrite: bool = False,
) -> InitSummary:
    """Make a table and a configuration of pictures as people have them, in a folder or listed in a table.

    Names say who, by which camera and in which modality where they say it beyond doubt. What they leave open is asked;
    nothing is guessed.

    Args:
        source: A folder of pictures, or a table (.csv) of them with any columns.
        out: The table to write, in the folder or above it; `people.csv` in the folder when not given.
        config: The configuration to write; beside the table, with the same name, when not given.
        answers: Answers to questions that may come up.
        ask: Asks a person; None where nobody can be asked, and an open question is an error that names the option.
        scratch: Whether the configuration is for a small network that starts without ImageNet weights.
        overwrite: Whether to replace a table and configuration that are there; numbers of people called by names stay.

    Raises:
        UsageError: A question without an answer, an answer that fits nothing, a folder that is a known dataset
            already, or a file in the way.
        DataError: No such folder, nothing in it that can be read, or outputs that cannot be written.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(
            f"{source} does not exist{not_there(source)}; give a folder of pictures, or a table of them"
        )
    _refuse_known(source)
    table = Path(out) if out is not None else (source / "people.csv" if source.is_dir() else _beside(source))
    settings = Path(config) if config is not None else table.with_suffix(".yaml")
    for file in (table, settings):
        if file.exists() and not overwrite:
            raise UsageError(
                f"{file} is there already; replace it with --overwrite, or name another with --out"
            )
    check_output(table, TABLE, inputs=[source])
    check_output(settings, inputs=[source])
    pictures = pictures_in(source, written=(table, settings, table.with_name(map_beside(table.name))))
    below = _from_table(pictures, table)
    answers = answers or Answers()
    rows, cameras, notes = _understand(pictures, answers, ask)
    if not rows:
        raise DataError(f"{source} holds no picture of a known person")
    write_text(table, _as_csv(rows, below))
    dataset = load_dataset("csv", table)  # people called by names get their numbers here
    people = len({row.person for row in rows})
    some = [pictures.root / row.path for row in rows[:: max(1, len(rows) // SAMPLE)]]
    write_text(settings, configuration_text(table, people, some, scratch=scratch))
    splits = (
        {} if set(dataset.splits) == {"test"} else {name: len(dataset.pids(name)) for name in dataset.splits}
    )
    shown = rows[:: max(1, (len(rows) - 1) // (EXAMPLES - 1))][:EXAMPLES]
    return InitSummary(
        table=table,
        config=settings,
        pictures=len(rows),
        people=people,
        modalities=Counter(row.modality for row in rows),
        cameras=cameras,
        without_camera=sum(row.camid == NO_CAMERA for row in rows),
        splits=splits,
        examples=tuple(_example(row) for row in shown),
        notes=(*pictures.notes, *notes),
    )


def _refuse_known(source: Path) -> None:
    name = recognise(source) if source.is_dir() else None
    if name is not None and name in DATASETS and not DATASETS[name].own_numbers:
        raise UsageError(f"{source} is a {name} dataset already: ivreid train {name} --data {source}")


def _beside(source: Path) -> Path:
    return source.with_name(f"{source.stem}-people.csv")


def _from_table(pictures: Pictures, table: Path) -> str:
    """The way from the table's folder to the pictures' root, empty or ending in a slash."""
    root, above = pictures.root.resolve(), table.resolve().parent
    if not root.is_relative_to(above):
        raise UsageError(
            f"{table}: a table's paths start from its own folder, so it lies in {pictures.root} or above it; choose "
            "another place with --out"
        )
    way = root.relative_to(above).as_posix()
    return "" if way == "." else f"{way}/"


def _understand(
    pictures: Pictures, answers: Answers, ask: Ask | None
) -> tuple[list[_Row], dict[str, int], list[str]]:
    modalities = modality_of_all(pictures, answers, ask)
    person = person_of(pictures, modalities, answers, ask)
    camids, names = camera_of_all(pictures, modalities, person, answers, ask)
    splits = _splits(pictures)
    called, notes = _callable(person)
    rows = [
        _Row(
            one.path,
            called[person[one.path]],
            modalities[one.path],
            camids[one.path],
            splits.get(one.path, ""),
        )
        for one in pictures.rows
        if person[one.path] != JUNK
    ]
    if len(rows) < len(pictures.rows):
        notes.append(f"left out, pictures of nobody (person {JUNK}): {len(pictures.rows) - len(rows):,}")
    used = sorted({row.camid for row in rows} - {NO_CAMERA})
    return rows, names or {str(number): number for number in used}, notes


def _callable(person: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What the table calls everybody: whole numbers where all are, else names, which hold a letter each."""
    names = sorted(set(person.values()) - {JUNK})
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        alike = [group for group in _grouped(names).values() if len(group) > 1]
        if alike:
            raise UsageError(
                f"{' and '.join(alike[0])} would be one person, number {int(alike[0][0])}; rename one of them, or move "
                "their pictures together"
            )
        return {name: str(int(name)) for name in names}, []
    called = {name: name if is_name(name) else f"id-{name}" for name in names}
    strange = [name for name in called.values() if not is_name(name)]
    if strange:
        raise UsageError(
            f"no person can be called {clean(strange[0], 60)!r}: use printable letters, at most 200"
        )
    if len(set(called.values())) < len(called):
        raise UsageError(
            "two people would have one name; call all of them by numbers, or all by names with letters"
        )
    changed = [name for name in names if called[name] != name]
    notes = (
        [f"{len(changed):,} number(s) among names are called id-N: {', '.join(changed[:5])}"]
        if changed
        else []
    )
    return called, notes


def _grouped(names: list[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name in names:
        found.setdefault(int(name), []).append(name)
    return found


def _splits(pictures: Pictures) -> dict[str, str]:
    """The split of every picture, where one part says it of all."""
    columns = [name for name in pictures.columns if name.lower() in _SPLIT_COLUMNS]
    for part in columns or pictures.parts("folder"):
        said = {row.path: split_of(row.parts.get(part, "")) for row in pictures.rows}
        if all(said.values()):
            return {path: str(split) for path, split in said.items()}
    return {}


def _as_csv(rows: list[_Row], below: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    divided, cameras = any(row.split for row in rows), any(row.camid for row in rows)
    writer.writerow(
        ["path", "pid", "modality", *(["camid"] if cameras else []), *(["split"] if divided else [])]
    )
    for row in rows:
        camid = [row.camid if row.camid != NO_CAMERA else ""] if cameras else []
        writer.writerow(
            [below + row.path, row.person, row.modality.value, *camid, *([row.split] if divided else [])]
        )
    return text.getvalue()


def _example(row: _Row) -> str:
    camera = f"camera {row.camid}" if row.camid != NO_CAMERA else "camera unknown"
    split = f", {row.split}" if row.split else ""
    return f"{row.path}: person {row.person}, {row.modality}, {camera}{split}"
