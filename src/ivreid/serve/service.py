"""What a server does with a gallery: each call is one request's work, whoever asked."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from ivreid.analysis.named_calibrations import NoCalibration
from ivreid.analysis.search_calibration import SearchCalibration
from ivreid.errors import DataError, IvreidError, UsageError
from ivreid.gallery import Answer, AuditRow, Crop, Receipt, Where
from ivreid.gallery.decide import by_calibration
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.receipts import kept
from ivreid.gallery.searching import Query
from ivreid.gallery.topology import Topology
from ivreid.reading import clean
from ivreid.serve.asked import CropsAsked, SearchAsked, checked, the_modality, the_purpose
from ivreid.serve.embedding import Embedded, Embedding
from ivreid.serve.figures import Figures
from ivreid.serve.limits import LONGEST_PURPOSE, Limits
from ivreid.types import UNKNOWN_PID

log = logging.getLogger(__name__)
T = TypeVar("T")
VERDICTS = ("same", "different", "unsure", "none")
STORE_THREADS = 2


class StoreFailed(IvreidError):
    """The gallery cannot be used at the moment: a full disk, another writer, damage."""


class Service:
    """A gallery, its embedding thread, and the threads that wait for its store.

    Args:
        gallery: Open; `close` closes it, last.
        topology: Travel times between its cameras.
        limits: Of requests.
    """

    def __init__(
        self, gallery: Gallery, *, topology: Topology | None = None, limits: Limits | None = None
    ) -> None:
        self.gallery, self.topology, self.limits = gallery, topology, limits or Limits()
        self.figures = Figures()
        self.ending = False
        self.calibration: SearchCalibration | None
        try:
            self.calibration = gallery.model.search_calibration()
        except NoCalibration:
            self.calibration = None
        self._embedding = Embedding(gallery.model, self.figures, self.limits.pixels)
        self._threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="ivreid-store")

    @property
    def ready(self) -> bool:
        """Whether requests may come."""
        return not self.ending and self._embedding.alive

    async def search(self, asked: SearchAsked) -> tuple[str, Answer, list[Embedded]]:
        """Search; the audit has a row of it also where it fails.

        Returns:
            The search's random name, the answer, and the queries' pictures.

        Raises:
            UsageError, DataError: What was asked cannot be; the message says what is wrong.
            StoreFailed: The gallery cannot be searched at the moment.
        """
        name = secrets.token_hex(8)
        try:
            answer, pictures = await self._searched(asked, name)
        except BaseException as error:
            why = self.words(error) if isinstance(error, IvreidError) else type(error).__name__
            purpose, detail = clean(asked.purpose.strip(), LONGEST_PURPOSE), {"search": name, "failed": why}
            written = self._threads.submit(
                self.gallery.store.record, "search", purpose=purpose, detail=detail
            )
            written.add_done_callback(_told)
            if isinstance(error, Exception):  # else the request's time is up, and nobody waits
                await asyncio.wait([asyncio.wrap_future(written)])
            raise
        return name, answer, pictures

    async def _searched(self, asked: SearchAsked, name: str) -> tuple[Answer, list[Embedded]]:
        asked.check(self.limits)
        where, sighting, by = asked.where(), asked.sighting(), asked.by_tracklet()
        queries: list[Query] = []
        pictures: list[Embedded] = []
        if asked.uploads:
            uploads = await self.in_thread(lambda: checked(asked.uploads, self.limits))
            kind = the_modality(asked.modality, "modality")
            pictures = await self._embedding.embed(uploads, kind)
            camera = asked.query_camera if asked.exclude_same_camera else None
            queries = [
                Query(one.name, found.vector[None], kind, camera, sighting=sighting)
                for one, found in zip(uploads, pictures, strict=True)
            ]

        def look() -> Answer:
            every = list(queries)
            if asked.crops:
                known = self.gallery.known_queries(asked.crops, other_cameras=asked.exclude_same_camera)
                every += [replace(one, name="a crop of the gallery") for one in known]
            tracklets = self.gallery.has_tracklets() if by is None else by
            return self.gallery.search_vectors(
                every,
                where=where,
                k=asked.k,
                fuse=asked.fuse or None,
                by_tracklet=tracklets,
                purpose=the_purpose(asked.purpose),
                decide=by_calibration(self.gallery.model, tracklets),
                topology=self.topology,
                travel_gate=asked.travel_gate and self.topology is not None,
                told={"search": name},
            )

        return await self.in_store(look), pictures

    async def embed(self, uploads: Sequence[tuple[str, bytes]], modality: str) -> list[Embedded]:
        """The vectors of pictures, which are not kept."""
        kind = the_modality(modality, "modality")
        ready = await self.in_thread(lambda: checked(uploads, self.limits))
        return await self._embedding.embed(ready, kind)

    async def add(self, asked: CropsAsked) -> Mapping[str, Any]:
        """Take in crops; what is answered is durable, and asking again adds nothing.

        Returns:
            Ids that are new, ids that were there, and how many were refused because their pixels were erased.
        """
        kind, times = the_modality(asked.modality, "modality"), asked.taken()
        uploads = await self.in_thread(lambda: checked(asked.uploads, self.limits))
        found = await self._embedding.embed(uploads, kind)
        crops = [
            Crop(
                pixels=one.digest,
                camera=asked.camera,
                time=time,
                modality=kind,
                tracklet=asked.tracklet or None,
                pid=UNKNOWN_PID if asked.pid is None else asked.pid,
                quality=asked.quality,
                source=upload.name,
            )
            for one, time, upload in zip(found, times, uploads, strict=True)
        ]

        def write() -> Mapping[str, Any]:
            store = self.gallery.store
            fate = store.add(crops, [one.vector for one in found], [one.picture for one in found])
            counts = {"added": len(fate.added), "known": len(fate.known), "erased": len(fate.erased)}
            store.record("add", detail={**counts, "bad": 0})
            self.figures.added.inc(len(fate.added))
            return {"added": list(fate.added), "known": list(fate.known), "erased": len(fate.erased)}

        return await self.in_store(write)

    async def delete(self, crop: str) -> int:
        """Take a crop out of every answer; says how many that were."""
        return await self.in_store(lambda: self.gallery.delete(Where(ids=frozenset({crop}))))

    async def erase(self, where: Where, purpose: str) -> Receipt:
        """Remove crops from every file of the gallery; their pixels are refused ever after."""
        return await self.in_store(lambda: self.gallery.erase(where, purpose=purpose))

    async def receipt(self, name: str) -> Mapping[str, Any] | None:
        """What an erasure's receipt says, by its id."""
        return await self.in_store(lambda: kept(self.gallery.store, name))

    async def judge(self, search: str, address: str, verdict: str, purpose: str = "") -> None:
        """Store what a reviewer says of a hit; the crop is named by its random address, which outlives no picture."""
        if verdict not in VERDICTS:
            raise UsageError(f"a verdict is one of {', '.join(VERDICTS)}")
        detail = {"search": search, "address": address, "verdict": verdict}
        await self.in_store(lambda: self.gallery.store.record("verdict", purpose=purpose, detail=detail))

    async def picture(self, address: str) -> bytes | None:
        """A kept picture by its crop's random address."""
        return await self.in_store(lambda: self.gallery.store.picture(address))

    async def cameras(self) -> tuple[str, ...]:
        """The names of all cameras."""
        return await self.in_store(self.gallery.store.cameras)

    async def audit(self, last: int) -> tuple[AuditRow, ...]:
        """The last rows of the audit."""
        return await self.in_store(lambda: self.gallery.store.audit(last=last))

    async def in_store(self, work: Callable[[], T]) -> T:
        """Work with the store in one of its threads.

        Raises:
            UsageError: What was asked cannot be.
            StoreFailed: The store cannot do it.
        """
        try:
            return await self.in_thread(work)
        except DataError as error:
            raise StoreFailed(str(error)) from error

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Work in one of the store's threads; what has not begun when the caller stops waiting is not begun."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def words(self, error: BaseException) -> str:
        """An error for people elsewhere: without this machine's paths."""
        return str(error).replace(self.gallery.store.address, "the gallery")

    def close(self) -> None:
        """Finish what is at work; the gallery closes last."""
        self.ending = True
        self._embedding.close()
        self._threads.shutdown(wait=True)
        self.gallery.close()


def _told(written: Any) -> None:
    if not written.cancelled() and (error := written.exception()) is not None:
        log.error("the audit could not be written: %s", error)
