"""Crops, vectors and stores for the tests of galleries; a new kind of store is added to `STORES`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np

from ivreid.gallery import Binding, Crop, Store
from ivreid.gallery.local import LocalStore
from ivreid.gallery.postgres import PostgresStore, ShardedStore
from ivreid.types import Modality
from postgres_server import server

DIMENSION = 8
BINDING = Binding("0123456789abcdef", DIMENSION, "iv-reid for a test")
START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def make_local(folder: Path, binding: Binding = BINDING) -> Store:
    weights = folder / "given.safetensors"
    weights.write_bytes(b"weights")
    return LocalStore.create(folder / "gallery", binding, weights)


def reopen_local(folder: Path) -> Store:
    return LocalStore(folder / "gallery")


def make_postgres(folder: Path, binding: Binding = BINDING) -> Store:
    weights, url = folder / "given.safetensors", server().url()
    weights.write_bytes(b"weights")
    (folder / "url").write_text(url)
    return PostgresStore.create(url, binding, weights)


def reopen_postgres(folder: Path) -> Store:
    return PostgresStore((folder / "url").read_text())


def make_shards(folder: Path, binding: Binding = BINDING) -> Store:
    weights, urls = folder / "given.safetensors", ",".join(server().url() for _ in range(3))
    weights.write_bytes(b"weights")
    (folder / "url").write_text(urls)
    return ShardedStore.create(urls, binding, weights)


def reopen_shards(folder: Path) -> Store:
    return ShardedStore((folder / "url").read_text())


Maker = Callable[[Path], Store]
STORES: dict[str, tuple[Maker, Maker]] = {
    "local": (make_local, reopen_local),
    "postgres": (make_postgres, reopen_postgres),
    "shards": (make_shards, reopen_shards),
}
"""How a store is made in a folder, and opened again."""


def crop(number: int, **changed: object) -> Crop:
    """One of many different crops; equal numbers give equal crops."""
    rng = Random(number)
    values: dict[str, object] = {
        "pixels": f"{number:032x}",
        "camera": rng.choice(("gate", "yard", "Tür 3")),
        "time": START + timedelta(hours=rng.randrange(60), microseconds=rng.randrange(3)),
        "modality": rng.choice(list(Modality)),
        "tracklet": rng.choice((None, "t1", "t2")),
        "pid": rng.choice((-1, 1, 2)),
        "source": f"pictures/{number}.jpg",
        "quality": rng.choice((None, 0.25)),
    }
    return Crop(**{**values, **changed})  # type: ignore[arg-type]


def vector(number: int, dimension: int = DIMENSION, kinds: int = 12) -> np.ndarray:
    """One of few vectors, so that many are equal."""
    return np.random.default_rng(number % kinds).standard_normal(dimension).astype(np.float32)


def vectors(numbers: list[int], dimension: int = DIMENSION, kinds: int = 12) -> np.ndarray:
    return np.array([vector(n, dimension, kinds) for n in numbers]).reshape(-1, dimension)


def picture(number: int) -> bytes | None:
    return None if number % 3 == 0 else np.random.default_rng(number).bytes(200 + 40 * (number % 50))
