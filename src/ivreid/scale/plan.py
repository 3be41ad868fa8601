"""What is embedded in shards: the images, the model, and which shards are finished."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.errors import DataError, IvreidError, UsageError
from ivreid.inference import Embedder
from ivreid.io import file_hash, fingerprint, write_json
from ivreid.reading import clean, read_json
from ivreid.types import Sample

PLAN = "plan.json"
HALF = "float16"
MAX_SHARDS = 100_000
_MEANING = {
    "model": "weights",
    "precision": "precision",
    "flip": "mirror images",
    "listing": "images",
    "images": "number of images",
    "shards": "number of shards",
    "format": "number formats (--half)",
}


def parse_shards(text: str) -> tuple[int | None, int]:
    """`K/N` to (K, N), and `N`, all of them, to (None, N).

    Raises:
        UsageError: Something else, or K beyond N.
    """
    match = re.fullmatch(r"(?:([0-9]{1,6})/)?([0-9]{1,6})", text)
    which, count = (match[1], int(match[2])) if match else (None, 0)
    if not 1 <= count <= MAX_SHARDS or (which is not None and not 1 <= int(which) <= count):
        raise UsageError(
            f"--shards {clean(text, 40)} must be K/N, shard K of N counted from 1, or N for all of them, such as 3/8 or 8"
        )
    return (None if which is None else int(which)), count


@dataclass(frozen=True)
class Plan:
    """One embedding in shards.

    Attributes:
        folder: Where the shards lie.
        root: Where the images' paths begin.
        samples: All of them; shard K holds a run of them, so that shards in their order hold all in theirs.
        count: Shards.
        identity: What must be the same for every shard: model, precision, images and their number, number format.
    """

    folder: Path
    root: Path
    samples: tuple[Sample, ...]
    count: int
    identity: dict[str, Any]

    def share(self, shard: int) -> tuple[Sample, ...]:
        """The samples of shard 1 to `count`."""
        total = len(self.samples)
        return self.samples[(shard - 1) * total // self.count : shard * total // self.count]

    def features(self, shard: int) -> Path:
        """The features file of a shard; there is none where no image of it can be read."""
        return self.folder / f"{shard:05d}-of-{self.count:05d}.npz"

    def record(self, shard: int) -> Path:
        """What says that a shard is whole, written last: its rows, its errors, and the hash of its features."""
        return self.features(shard).with_suffix(".json")

    def finished(self, shard: int) -> dict[str, Any] | None:
        """The record of a shard that is whole; None where it must be embedded (again)."""
        path, features = self.record(shard), self.features(shard)
        if not path.is_file():
            return None
        try:
            record = read_json(path)
            rows, errors = record["rows"], record["errors"]
            whole = (
                record["plan"] == self.fingerprint
                and rows + len(errors) == len(self.share(shard))
                and (rows == 0 or file_hash(features) == record["features"])
            )
        except (IvreidError, LookupError, TypeError):
            return None
        return dict(record) if whole else None

    @property
    def half(self) -> bool:
        """Whether the shards hold float16."""
        return self.identity.get("format") == HALF

    @property
    def fingerprint(self) -> str:
        """Of what every shard must share."""
        return fingerprint(self.identity.items())


def make_plan(
    folder: Path, root: Path, samples: Sequence[Sample], count: int, embedder: Embedder, *, half: bool = False
) -> Plan:
    """The plan of an embedding, which is written into its folder, or is the one that lies there.

    Raises:
        UsageError: More shards than images, or another embedding's shards lie there; the message says what differs.
        DataError: The folder cannot be read or written.
    """
    if count > len(samples):
        raise UsageError(f"{count:,} shards for {len(samples):,} images; a shard holds one image or more")
    identity = {
        "model": embedder.fingerprint,
        "precision": str(embedder.precision),
        "flip": str(embedder.flip),
        "listing": _listing(root, samples),
        "images": len(samples),
        "shards": count,
    }
    if half:  # of float32 a plan says nothing, as those of earlier versions
        identity["format"] = HALF
    plan = Plan(folder, root, tuple(samples), count, identity)
    path = folder / PLAN
    if path.is_file():
        found = read_json(path)
        other = [
            key for key in _MEANING if not isinstance(found, dict) or found.get(key) != identity.get(key)
        ]
        if other:
            raise UsageError(
                f"{folder} holds the shards of another embedding: its {_MEANING[other[0]]} differ. Give another --out, or "
                "remove that folder"
            )
    else:
        write_json(path, identity)
    return plan


def _listing(root: Path, samples: Sequence[Sample]) -> str:
    """Paths, people, cameras and sizes: another machine sees the same ones on a shared disk."""
    rows = []
    for sample in samples:
        try:
            size = (root / sample.path).stat().st_size
        except OSError as error:
            raise DataError(f"cannot read {root / sample.path}: {error.strerror or error}") from error
        rows.append((sample.path, (sample.pid, sample.camid, sample.modality.value, sample.frame, size)))
    return fingerprint(rows)
