"""Writing a whole synthetic dataset: checked request, one plan, all cores, and a summary last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from ivreid.datasets.base import SYNTHETIC
from ivreid.errors import DataError, UsageError
from ivreid.io import write_json
from ivreid.machine import available_cores
from ivreid.reading import read_json
from ivreid.synthetic.appearance import Identity, draw_identity
from ivreid.synthetic.dataset_plan import DatasetPlan, PlannedPicture
from ivreid.synthetic.dataset_request import DEFAULT_GAP, DatasetRequest
from ivreid.synthetic.layouts import LAYOUTS
from ivreid.synthetic.render import draw_moment, render
from ivreid.synthetic.streams import generator
from ivreid.synthetic.surface import Band
from ivreid.types import Progress

SUMMARY, UNFINISHED = SYNTHETIC, "synthetic.unfinished.json"
CHUNK = 48
"""Pictures a worker draws at a time."""


@dataclass(frozen=True)
class SynthSummary:
    """What `synthesise` wrote or found.

    Attributes:
        root: The dataset's folder.
        layout: Its layout.
        identities: Identities in it.
        images: Pictures in it.
        cameras: Pictures per camera.
        seconds: How long it took.
        reused: True when the folder already held exactly this dataset.
    """

    root: Path
    layout: str
    identities: int
    images: int
    cameras: dict[str, int]
    seconds: float
    reused: bool


@lru_cache(maxsize=64)
def _identity(seed: int, pid: int) -> Identity:
    return draw_identity(seed, pid)


@lru_cache(maxsize=2)
def plan_dataset(request: DatasetRequest) -> DatasetPlan:
    """Everything the requested dataset holds."""
    return LAYOUTS[request.layout].plan(request.seed, request.identities, request.images)


def picture_identities(
    layout: str, identities: int, images: int, seed: int = 0
) -> tuple[list[int], list[bool]]:
    """Whom each picture of a dataset will show, and whether by infrared; nothing is drawn.

    Raises:
        UsageError: As `synthesise`.
    """
    planned = plan_dataset(DatasetRequest(layout, identities, images, (128, 64), seed, DEFAULT_GAP))
    infrared = [planned.cameras[one.camera].band is not Band.VISIBLE for one in planned.pictures]
    return [one.pid for one in planned.pictures], infrared


def is_drawn(root: Path | str) -> bool:
    """Whether a whole drawn dataset lies there."""
    return Path(root, SUMMARY).is_file()


def draw_picture(request: DatasetRequest, planned: DatasetPlan, picture: PlannedPicture) -> Image.Image:
    """One picture of the plan, the same whoever draws it and in whatever order."""
    camera = planned.cameras[picture.camera]
    rng = generator(request.seed, "shot", *picture.moment)
    height, width = request.size
    if picture.vary:
        height = round(height * float(rng.uniform(1 - picture.vary, 1 + picture.vary)))
        width = round(height * width / request.size[0] * float(rng.uniform(0.93, 1.07)))
    if picture.heading is not None:
        camera = replace(camera, headings=(picture.heading,))
    moment = draw_moment(rng, camera, spread=picture.spread)
    identity = _identity(request.seed, picture.pid)
    return render(identity, camera, moment, size=(height, width), seed=request.seed, gap=request.gap)


def _draw_chunk(root: Path, request: DatasetRequest, start: int, stop: int) -> int:
    """Draw the pictures start..stop of the plan, which every process makes anew from the request."""
    planned = plan_dataset(request)
    for picture in planned.pictures[start:stop]:
        image, path = draw_picture(request, planned, picture), root / picture.path
        if path.suffix == ".jpg":
            image.save(path, quality=planned.cameras[picture.camera].quality)
        else:
            image.save(path)
    return stop - start


def _claim(root: Path, request: DatasetRequest) -> dict[str, Any] | None:
    """Make the folder ours, or return the summary of the same dataset that already lies there."""
    wanted, advice = request.to_json(), "name another folder or delete it"
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; name a folder that does not exist yet")
    if (root / SUMMARY).is_file():
        found = read_json(root / SUMMARY)
        if isinstance(found, dict) and found.get("request") == wanted:
            return found
        raise UsageError(f"{root} already holds another synthetic dataset (see its {SUMMARY}); {advice}")
    if (root / UNFINISHED).is_file():
        if read_json(root / UNFINISHED) != wanted:
            raise UsageError(f"{root} holds an unfinished synthetic dataset with other settings; {advice}")
    elif root.is_dir() and any(root.iterdir()):
        raise UsageError(f"{root} is not empty; name a folder that does not exist yet")
    write_json(root / UNFINISHED, wanted)
    return None


def _results(root: Path, request: DatasetRequest, total: int, workers: int) -> Iterator[int]:
    """Draw everything, yielding how many pictures each finished chunk held."""
    chunks = [(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    if workers <= 1 or len(chunks) == 1:
        for start, stop in chunks:
            yield _draw_chunk(root, request, start, stop)
        return
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        pending: set[Future[int]] = {
            pool.submit(_draw_chunk, root, request, start, stop) for start, stop in chunks
        }
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()


def synthesise(
    out: Path | str,
    *,
    layout: str,
    identities: int,
    images: int,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    gap: float = DEFAULT_GAP,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SynthSummary:
    """Write a synthetic visible-infrared pedestrian dataset in a real dataset's layout.

    The pictures depend on the request alone, not on the number of processes. A summary, `synthetic.json`,
    is written last, so a folder without it is unfinished; calling again with the same request finishes it,
    and on a finished folder returns at once.

    Args:
        out: Folder to write, new or empty.
        layout: "sysu-mm01", "regdb" or "llcm".
        identities: Number of people.
        images: Pictures per person and camera (RegDB: per person and modality).
        size: (height, width) in pixels; SYSU-MM01's and LLCM's pictures vary around it.
        seed: Every seed is another world: other people, cameras, places.
        gap: 0: infrared is grey visible; 1: only shape survives.
        workers: Processes; all cores where None. 1 draws in this process.
        progress: Called with (pictures done, pictures in all).

    Raises:
        UsageError: A value out of its range, or a folder that holds something else.
        DataError: The disk is full or the folder cannot be written.
    """
    started = time.monotonic()
    request = DatasetRequest(layout, identities, images, (int(size[0]), int(size[1])), seed, float(gap))
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, not {workers}")
    root = Path(out)
    found = _claim(root, request)
    if found is not None:
        return SynthSummary(
            root, layout, identities, int(found["images"]), dict(found["cameras"]), 0.0, reused=True
        )
    planned = plan_dataset(request)
    total = len(planned.pictures)
    seen = Counter(picture.camera for picture in planned.pictures)
    counts = {name: seen[name] for name in planned.cameras}
    try:
        for folder in sorted({(root / picture.path).parent for picture in planned.pictures}):
            folder.mkdir(parents=True, exist_ok=True)
        done = 0
        for finished in _results(root, request, total, available_cores() if workers is None else workers):
            done += finished
            if progress is not None:
                progress(done, total)
        planned.write_lists(root)
    except BrokenProcessPool as error:
        raise DataError(
            "a drawing process died or could not start; run the same command again to finish, or with one "
            "worker. A script that calls this needs `if __name__ == '__main__':` around the call"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot write {root}: {error.strerror or error}; run the same command again to finish it"
        ) from error
    write_json(root / SUMMARY, {"request": request.to_json(), "images": total, "cameras": counts})
    (root / UNFINISHED).unlink(missing_ok=True)
    return SynthSummary(root, layout, identities, total, counts, time.monotonic() - started, reused=False)
