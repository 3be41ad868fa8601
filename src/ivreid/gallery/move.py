"""From one store into another, or into a table."""

from __future__ import annotations

from pathlib import Path

from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.gallery.opening import create_store, open_store, scheme_of
from ivreid.gallery.store import Store
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.io import atomic_write, check_output, starting_with
from ivreid.types import Progress

PARQUET = starting_with("Parquet files", ".parquet", b"PAR1")
BATCH = 1000


def copy(
    source: Store, target: Path | str, where: Where = EVERYTHING, *, progress: Progress | None = None
) -> tuple[int, int]:
    """Copy crops with vectors, pictures and what is refused into another store, which is made where it is not there.

    It may be repeated or resumed: what is there already stays.

    Args:
        source: Where they are.
        target: A folder or URL.
        where: Which.
        progress: Called with (done, total).

    Returns:
        How many are new in the target, and how many it refused since they were erased there.

    Raises:
        CheckpointError: The target holds vectors of another model.
    """
    other = _target(source, target)
    added = erased = done = 0
    try:
        other.inherit(source.erasures())
        total = source.count(where)
        for crops, vectors, pictures in source.iterate(where, batch=BATCH):
            fate = other.add(crops, vectors, pictures)
            added, erased, done = added + len(fate.added), erased + len(fate.erased), done + len(crops)
            if progress is not None:
                progress(done, max(total, done))
        other.record("copy", detail={"from": source.address, "added": added, "erased": erased})
        other.compact()
    finally:
        other.close()
    return added, erased


def _target(source: Store, target: Path | str) -> Store:
    if not scheme_of(target) and not Path(target).exists():
        return create_store(target, source.binding, source.weights())
    try:
        other = open_store(target)
    except DataError:
        if not scheme_of(target):  # there, but no gallery that can be used
            raise
        return create_store(target, source.binding, source.weights())
    bound, found = source.binding, other.binding
    try:
        if other.address == source.address:
            raise UsageError(f"{source.address} cannot be copied into itself")
        if bound.fingerprint != found.fingerprint:
            raise CheckpointError(
                f"{source.address} holds vectors of {bound.name} ({bound.fingerprint}), {other.address} those of "
                f"{found.name} ({found.fingerprint}): they cannot be compared; copy into a new gallery"
            )
    except BaseException:
        other.close()
        raise
    return other


def export(
    store: Store,
    out: Path | str,
    where: Where = EVERYTHING,
    *,
    pictures: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write crops with their vectors as a Parquet file, and say how many.

    Args:
        store: Where they are.
        out: The file, .parquet.
        where: Which.
        pictures: Whether to write the pictures, too.
        progress: Called with (done, total).

    Raises:
        UsageError: pyarrow is not installed, or `out` holds something else.
        DataError: It cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow; install it: pip install 'ivreid[parquet]'") from error
    out, dimension = Path(out), store.binding.dimension
    check_output(out, PARQUET)
    columns = [
        ("id", pa.string()), ("camera", pa.string()), ("time", pa.timestamp("us", "UTC")),
        ("modality", pa.string()), ("tracklet", pa.string()), ("pid", pa.int64()), ("source", pa.string()),
        ("quality", pa.float64()), ("vector", pa.list_(pa.float16(), dimension)),
    ]  # fmt: skip
    if pictures:
        columns.append(("picture", pa.binary()))
    about = {"model": store.binding.name, "weights_fingerprint": store.binding.fingerprint}
    schema = pa.schema(columns, metadata=about)
    done, total = 0, store.count(where)
    with atomic_write(out) as file, pq.ParquetWriter(file, schema) as writer:
        for crops, vectors, images in store.iterate(where, batch=BATCH):
            values = [
                [crop.id for crop in crops], [crop.camera for crop in crops], [crop.time for crop in crops],
                [crop.modality.value for crop in crops], [crop.tracklet for crop in crops],
                [crop.pid if crop.pid >= 0 else None for crop in crops], [crop.source for crop in crops],
                [crop.quality for crop in crops],
            ]  # fmt: skip
            arrays = [pa.array(v, kind) for v, (_, kind) in zip(values, columns, strict=False)]
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension))
            if pictures:
                arrays.append(pa.array(images, pa.binary()))
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            done += len(crops)
            if progress is not None:
                progress(done, max(total, done))
    return done
