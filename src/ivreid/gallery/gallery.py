"""A gallery and the model it is bound to: pictures in, people found."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ivreid.data import prefetch
from ivreid.errors import CheckpointError, ImageError, IvreidError, UsageError
from ivreid.gallery.answer import Answer
from ivreid.gallery.decide import Decide, by_calibration
from ivreid.gallery.intake import NewCrop, Told, new_crops
from ivreid.gallery.opening import create_store, open_store
from ivreid.gallery.pictures import encoded
from ivreid.gallery.receipts import keep
from ivreid.gallery.record import Crop
from ivreid.gallery.searching import Query, search
from ivreid.gallery.store import Binding, Receipt, Report, Store, Summary
from ivreid.gallery.taken import Taken
from ivreid.gallery.topology import Topology
from ivreid.gallery.travelling import travelled
from ivreid.gallery.vector_queries import stored_queries, vector_queries
from ivreid.gallery.where import EVERYTHING, Where
from ivreid.inference import Embedder, ImageLike, load, weights_file
from ivreid.inference.image_inputs import one_by_one
from ivreid.types import Modality, Progress

log = logging.getLogger(__name__)


class Gallery:
    """Crops of many cameras, and the model that makes and compares their vectors.

    Use `Gallery.create` or `Gallery.open`; it is a context manager, too.

    Args:
        store: Where the crops are.
        model: Gives the embedder when it is first needed.
    """

    def __init__(self, store: Store, model: Embedder | None = None, **options: Any) -> None:
        self.store = store
        self._model, self._options = model, options
        if model is not None:
            self._check(model, "the given model")

    @classmethod
    def create(cls, address: Path | str, model: Path | str, **options: Any) -> Gallery:
        """Make an empty gallery, which keeps a copy of the model's weights.

        Args:
            address: A folder that is not there yet, or a URL.
            model: A run folder, a weights file, or an address hf://ORG/NAME.
            **options: As `ivreid.load`: device, batch_size, workers.

        Raises:
            UsageError: Something is there already.
            CheckpointError: Weights that cannot be used.
            DataError: It cannot be written.
        """
        file = weights_file(model)
        embedder = load(file, **options)
        name = f"{embedder.card.get('method', 'a model')} from {model}"
        binding = Binding(_fingerprint(embedder, file), embedder.embedding_dim, name)
        return cls(create_store(address, binding, file), embedder, **options)

    @classmethod
    def open(
        cls,
        address: Path | str,
        *,
        model: Embedder | Path | str | None = None,
        allow_partial: bool = False,
        **options: Any,
    ) -> Gallery:
        """Open a gallery.

        Args:
            address: Its folder or URL.
            model: Weights to use in place of the gallery's copy, newly calibrated ones for instance; they must
                compute the same.
            allow_partial: Of shards search those that answer; notes say which did not. Nothing can be changed then.
            **options: As `ivreid.load`: device, batch_size, workers.

        Raises:
            DataError: No gallery there, a damaged one, or one of a newer version.
            CheckpointError: Another model than the gallery's.
        """
        store = open_store(address, allow_partial=allow_partial)
        try:
            embedder = model if isinstance(model, Embedder) or model is None else load(model, **options)
            return cls(store, embedder, **options)
        except BaseException:
            store.close()
            raise

    @property
    def model(self) -> Embedder:
        """The embedder, loaded from the gallery's copy when it is first asked for.

        Raises:
            CheckpointError: The copy is not there, damaged, or of another model.
        """
        if self._model is None:
            file = self.store.weights()
            embedder = load(file, **self._options)
            self._check(embedder, str(file))
            self._model = embedder
        return self._model

    def _check(self, embedder: Embedder, what: str) -> None:
        bound, found = self.store.binding, _fingerprint(embedder, what)
        if found != bound.fingerprint:
            raise CheckpointError(
                f"{self.store.address} holds vectors of {bound.name} (fingerprint {bound.fingerprint}), and {what} is "
                f"{embedder.card.get('method', 'a model')} with fingerprint {found}: vectors of two models cannot be "
                "compared; use the gallery's own model, or make a gallery with the new one"
            )

    def add(
        self,
        source: Path | str | Iterable[NewCrop],
        *,
        camera: str | None = None,
        modality: Modality | str | None = None,
        time: datetime | str | None = None,
        told: Told | None = None,
        pictures: bool = True,
        skip_bad: bool = False,
        progress: Progress | None = None,
        notice: Any = log.warning,
    ) -> Taken:
        """Take in pictures; one that is there already is left as it is, so that a call may be repeated or resumed.

        Each batch is durable when its progress is told.

        Args:
            source: A folder, a table, a picture, or pictures with what is known of them.
            camera: The camera's name, where neither columns nor folders (camN) say it.
            modality: Visible or infrared, likewise.
            time: When they were taken, with a zone, likewise; "exif" or "modified" asks each file.
            told: All of these and more, in their place.
            pictures: Whether to keep the pictures, for pages that show them.
            skip_bad: Record unreadable pictures in the audit and go on; else they are an error at the end.
            progress: Called with (done, total).
            notice: Called with a line about what was left out.

        Raises:
            ImageError: Unreadable pictures, all named; the others are added.
            DataError: Nothing says the camera, time or modality of a picture: nothing was added.
        """
        if isinstance(source, Path | str):
            if told is None:
                said = None if modality is None else Modality(modality)
                told = Told(camera=camera, modality=said, time=_time(time))
            crops, notes = new_crops(Path(source), told)
            for line in notes:
                notice(line)
        else:
            crops = list(source)
        total = Taken()
        for done, part in self._in_batches(crops, pictures):
            total = total + part
            if skip_bad:
                for line in part.bad:
                    self.store.record("skip", detail={"reason": line})
            if progress is not None:
                progress(done, len(crops))
        self.store.record(
            "add",
            detail={
                "added": len(total.added),
                "known": total.known,
                "erased": total.erased,
                "bad": len(total.bad),
            },
        )
        self.store.compact()
        if total.bad and not skip_bad:
            shown = "\n  ".join(total.bad[:20])
            raise ImageError(
                f"{len(total.bad):,} of {len(crops):,} picture(s) cannot be used, the others are in the gallery:\n  {shown}"
            )
        return total

    def _in_batches(self, crops: Sequence[NewCrop], pictures: bool) -> Iterator[tuple[int, Taken]]:
        size, rule = self.model.batch_size, self.model.preprocessing.value_range

        def read(start: int) -> tuple[int, list[tuple[Crop, Any]], list[str]]:
            ready, bad = [], []
            for one in crops[start : start + size]:
                try:
                    ready.append(one.read(rule))
                except IvreidError as error:
                    bad.append(str(error))
            return start, ready, bad

        for start, ready, bad in prefetch(read, range(0, len(crops), size), self.model.workers):
            fate = self.store.known([crop for crop, _ in ready])
            new = set(fate.added)
            chosen = [pair for pair in ready if pair[0].id in new and not new.discard(pair[0].id)]  # type: ignore[func-returns-value]
            added: tuple[str, ...] = ()
            if chosen:
                vectors = self.model.embed(
                    [image for _, image in chosen], [crop.modality for crop, _ in chosen]
                )
                kept = [encoded(image) if pictures else None for _, image in chosen]
                added = self.store.add([crop for crop, _ in chosen], vectors, kept).added
            taken = Taken(added, len(ready) - len(added) - len(fate.erased), len(fate.erased), tuple(bad))
            yield min(start + size, len(crops)), taken

    def search(
        self,
        queries: ImageLike | Iterable[ImageLike] | None = None,
        modality: Modality | str | None = None,
        *,
        vector: Any = None,
        where: Where = EVERYTHING,
        k: int = 10,
        names: Sequence[str] | None = None,
        cameras: Sequence[str | None] | None = None,
        fuse: str | None = None,
        by_tracklet: bool | None = None,
        purpose: str = "",
        decide: Decide | None = None,
    ) -> Answer:
        """Find the people of some pictures.

        Args:
            queries: Pictures, as `Embedder.embed` takes them.
            modality: Theirs, or that of the pictures behind `vector`; always to be given.
            vector: Instead of pictures: (D,) or (N, D) embeddings by this gallery's model.
            where: What may be found.
            k: Hits a query.
            names: What the queries are called in the answer; their paths, or numbers, otherwise.
            cameras: Of each query the camera whose crops are left out, or None.
            fuse: All queries show one person: "mean" or "best".
            by_tracklet: Whether hits are tracklets; by default where the gallery has any.
            purpose: Why, for the audit.
            decide: Says what a hit is; by default the model's calibration does.

        Raises:
            UsageError: Unknown cameras, no queries, no modality, or k below 1.
            ImageError: Pictures that cannot be read.
            DataError: Vectors of another dimension.
        """
        if modality is None:
            raise UsageError('say what kind of camera took the queries: modality="infrared" or "visible"')
        if (queries is None) == (vector is None):
            raise UsageError("give either pictures to search for, or vector=")
        if queries is not None:
            asked = self.queries(queries, modality, names=names, cameras=cameras)
        else:
            asked = vector_queries(vector, modality, self.store.binding, names=names, cameras=cameras)
        return self.search_vectors(
            asked, where=where, k=k, fuse=fuse, by_tracklet=by_tracklet, purpose=purpose, decide=decide
        )

    def queries(
        self,
        images: ImageLike | Iterable[ImageLike],
        modality: Modality | str,
        *,
        names: Sequence[str] | None = None,
        cameras: Sequence[str | None] | None = None,
    ) -> list[Query]:
        """Queries from pictures; for the arguments see `search`.

        Raises:
            UsageError: No pictures, or not one name or camera each.
            ImageError: Pictures that cannot be read.
        """
        many = one_by_one(images)
        if not many:
            raise UsageError("there is no picture to search for")
        called = names or [str(one) if isinstance(one, Path | str) else str(n) for n, one in enumerate(many)]
        whose = cameras or [None] * len(many)
        if not len(many) == len(called) == len(whose):
            raise UsageError(
                f"{len(many)} pictures, {len(called)} names and {len(whose)} cameras; give one each"
            )
        kind = Modality(modality)
        vectors = self.model.embed(many, kind)
        return [
            Query(name, vectors[[row]], kind, camera)
            for row, (name, camera) in enumerate(zip(called, whose, strict=True))
        ]

    def search_vectors(
        self,
        queries: Sequence[Query],
        *,
        where: Where = EVERYTHING,
        k: int = 10,
        fuse: str | None = None,
        by_tracklet: bool | None = None,
        purpose: str = "",
        decide: Decide | None = None,
        topology: Topology | None = None,
        travel_gate: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Answer:
        """As `search`, for vectors of this gallery's model.

        With a `topology` every hit carries whether there was time between the query's `sighting` and the hit's tracklet,
        from the end of the one that began first to the start of the other; with
        `travel_gate` hits for which there was none, or too much, are left out, and a note says how many. What is `told`
        goes into the audit, too.
        """
        tracklets = self.has_tracklets() if by_tracklet is None else by_tracklet
        rule = decide or by_calibration(self.model, tracklets)
        answer = search(self.store, queries, where, k, by_tracklet=tracklets, fuse=fuse, decide=rule)
        if topology is not None:
            answer = travelled(self.store, answer, queries, topology, gated=travel_gate)
        self.store.record(
            "search",
            purpose=purpose,
            detail={
                "queries": len(queries),
                "searched": answer.searched,
                "k": k,
                "where": str(where),
                **({} if answer.approximate is None else {"approximate": answer.approximate.to_json()}),
                **({"partial": list(answer.partial)} if answer.partial else {}),
                **(told or {}),
            },
        )
        return answer

    def known_queries(self, ids: Collection[str], *, other_cameras: bool = False) -> list[Query]:
        """Queries from crops of the gallery, which are no answers to themselves.

        Args:
            ids: Theirs.
            other_cameras: Leave out crops of a query's own camera.

        Raises:
            UsageError: An id that is not there.
        """
        return stored_queries(self.store, ids, other_cameras=other_cameras)

    def has_tracklets(self) -> bool:
        """Whether any crop belongs to a tracklet."""
        return self.store.has_tracklets()

    def summary(self) -> Summary:
        """What the gallery holds."""
        return self.store.summary()

    def count(self, where: Where = EVERYTHING) -> int:
        """How many crops pass a filter."""
        return self.store.count(where)

    def delete(self, where: Where) -> int:
        """Take crops out of every answer; they may be added again."""
        return self.store.delete(where)

    def erase(self, where: Where, *, purpose: str = "") -> Receipt:
        """Remove crops from every file of the gallery, and refuse their pixels ever after; the audit keeps the receipt."""
        return keep(self.store, self.store.erase(where), purpose)

    def expire(self, older_than: datetime) -> Receipt:
        """Remove crops taken before a time from every file of the gallery; the audit keeps the receipt."""
        return keep(self.store, self.store.expire(older_than))

    def verify(self, *, progress: Progress | None = None) -> Report:
        """Compare everything with what was written."""
        return self.store.verify(progress=progress)

    def close(self) -> None:
        """Let go of files and connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fingerprint(embedder: Embedder, what: object) -> str:
    if embedder.fingerprint is None:
        raise UsageError(f"{what} comes from no weights file, so a gallery cannot be bound to it")
    return embedder.fingerprint


def _time(time: datetime | str | None) -> Any:
    from ivreid.gallery.patterns import parse_time

    return parse_time(time) if isinstance(time, str) and time not in ("exif", "modified") else time
