"""One thread decodes and embeds what all requests ask for, in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from PIL import Image

from ivreid.errors import ImageError, IvreidError, UsageError
from ivreid.gallery.pictures import encoded
from ivreid.gallery.record import pixel_digest
from ivreid.inference import Embedder
from ivreid.io import read_image_bytes
from ivreid.serve.figures import Figures
from ivreid.serve.limits import KINDS
from ivreid.types import FloatArray, Modality

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: not decoded, its header read.

    Attributes:
        name: What people call it.
        data: The file's content.
        pixels: How many it says to have.
    """

    name: str
    data: bytes
    pixels: int


@dataclass(frozen=True, eq=False)
class Embedded:
    """A picture's vector (D,), the digest of its pixels, and the JPEG that a page shows or a gallery keeps."""

    vector: FloatArray
    digest: str
    picture: bytes


@dataclass(frozen=True, eq=False)
class _Job:
    uploads: Sequence[Upload]
    modality: Modality
    done: Future[list[Embedded]]

    @property
    def pixels(self) -> int:
        return sum(one.pixels for one in self.uploads)


class Embedding:
    """A queue before one thread. Waiting pictures are kept as they were sent; only a batch is decoded at a time.

    Args:
        model: Embeds.
        figures: Where batches are counted.
        pixels: A batch holds no more, unless one request alone has more.
    """

    def __init__(self, model: Embedder, figures: Figures, pixels: int) -> None:
        self._model, self._figures, self._pixels = model, figures, pixels
        self._window = 0.005 if model.device.type == "cuda" else 0.0
        self._jobs: deque[_Job] = deque()
        self._change = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="ivreid-embedding", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is there to work."""
        return self._thread.is_alive() and not self._ended

    async def embed(self, uploads: Sequence[Upload], modality: Modality) -> list[Embedded]:
        """Decode and embed pictures; a caller that stops waiting takes its pictures out of the queue.

        Raises:
            ImageError: One that cannot be read; the message names it.
        """
        job = _Job(uploads, modality, Future())
        with self._change:
            if self._ended:
                raise UsageError("this server is ending; ask again in a moment")
            self._jobs.append(job)
            self._count()
            self._change.notify()
        return await asyncio.wrap_future(job.done)

    def close(self) -> None:
        """Finish what waits, and end."""
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join()

    def _count(self) -> None:
        self._figures.queued.set(sum(len(job.uploads) for job in self._jobs))

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._do(batch)
            except BaseException as error:  # the thread outlives whatever a picture does to it
                if not isinstance(error, IvreidError):
                    log.exception("a batch could not be embedded")
                for job in batch:
                    if not job.done.done():
                        job.done.set_exception(error)
            del batch

    def _next(self) -> list[_Job]:
        """The jobs of the next batch; none at the end."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._jobs or self._ended)
                if self._jobs and self._window and not self._ended:
                    self._change.release()
                    time.sleep(self._window)  # a GPU does more at once for the same
                    self._change.acquire()
                batch: list[_Job] = []
                images = pixels = 0
                while self._jobs:
                    job = self._jobs[0]
                    images, pixels = images + len(job.uploads), pixels + job.pixels
                    if batch and (images > self._model.batch_size or pixels > self._pixels):
                        break
                    self._jobs.popleft()
                    if job.done.set_running_or_notify_cancel():
                        batch.append(job)
                self._count()
                if batch or (self._ended and not self._jobs):
                    return batch

    def _do(self, batch: Sequence[_Job]) -> None:
        rule = self._model.preprocessing.value_range
        ready: list[tuple[_Job, list[Image.Image]]] = []
        for job in batch:
            images: list[Image.Image] = []
            try:
                for one in job.uploads:
                    try:
                        images.append(read_image_bytes(one.data, rule, kinds=KINDS))
                    except ImageError as error:
                        raise ImageError(f"{one.name}: {error}") from error
            except IvreidError as error:
                job.done.set_exception(error)
                continue
            ready.append((job, images))
        every = [image for _, images in ready for image in images]
        if not every:
            return
        kinds = [job.modality for job, images in ready for _ in images]
        self._figures.batches.observe(len(every))
        vectors = self._model.embed(every, kinds)
        start = 0
        for job, images in ready:
            rows = vectors[start : start + len(images)]
            start += len(images)
            job.done.set_result(
                [
                    Embedded(row, pixel_digest(image), encoded(image))
                    for row, image in zip(rows, images, strict=True)
                ]
            )
