"""Cuts crops out of frames, keeps the best of each tracklet, and lists them in a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ivreid.crops.box_files import read_boxes
from ivreid.crops.boxes import LONGEST_NAME, Box, boxes_of, by_frame
from ivreid.crops.frames import Frames, open_frames
from ivreid.crops.manifest import CROPS, MANIFEST, Cut, Steps, whole_edges, write_crops
from ivreid.crops.quality import judge
from ivreid.errors import DataError, UsageError
from ivreid.io import REFUSE, ValueRange, check_output
from ivreid.reading import clean
from ivreid.types import Modality, Notice, Progress

MIN_SIDE = 8
"""Pixels a crop has at least on each side, after clipping."""
LISTED = 20

Boxes = Path | str | Mapping[int | str, Any] | Iterable[Box]


@dataclass(frozen=True)
class Cropped:
    """What was cut out.

    Attributes:
        manifest: The table; its first columns are path, camera, time and modality.
        crops: How many crops were written.
        boxes: How many boxes there were.
        tracklets: How many tracklets the crops are of.
        left_out: Boxes nothing could be cut out by, each with the reason.
    """

    manifest: Path
    crops: int
    boxes: int
    tracklets: int
    left_out: tuple[str, ...]


def crop_frames(
    frames: Path | str,
    boxes: Boxes,
    out: Path | str,
    *,
    camera: str,
    start: datetime | str,
    modality: Modality | str,
    fps: float | None = None,
    form: str | None = None,
    category: int | None = None,
    offset: int = 0,
    pad: float = 0.0,
    best: int | None = None,
    min_confidence: float | None = None,
    min_quality: float = 0.0,
    value_range: ValueRange = REFUSE,
    skip_bad: bool = False,
    overwrite: bool = False,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> Cropped:
    """Cut people out of frames by the boxes that a detector or tracker gave.

    Writes PNG files and `manifest.csv` into `out`: path, camera, time, modality, tracklet, quality, source. A
    tracklet is called CAMERA/START/NAME, since trackers count from 1 in every recording.

    Args:
        frames: A folder of frames, or a video where its decoder is installed (extra `video`).
        boxes: A file (COCO JSON, MOTChallenge text, CSV); or {frame: detections}, each with `.xyxy` and perhaps
            `.confidence` and `.tracker_id`; or `Box` values. Frames by number, as in the file's name or from 1,
            or by file name.
        out: The folder to write.
        camera: The camera's name.
        start: When the first frame was taken, with its zone: 2026-03-01T22:00:00+01:00.
        modality: What kind of camera took them.
        fps: Frames a second; a folder needs it, a video has a clock of its own.
        form: "coco", "mot" or "csv"; None goes by the suffix.
        category: COCO: the number of the people's category.
        offset: Added to the boxes' frame numbers.
        pad: Share of its size that a box grows by on every side.
        best: So many crops of each tracklet are kept, the best; None keeps all. Boxes without a tracklet are kept.
        min_confidence: Leave out boxes of a lower one.
        min_quality: Leave out crops of a lower one.
        value_range: How frames of more than eight bits become grey.
        skip_bad: Leave out boxes nothing can be cut out by, instead of refusing all.
        overwrite: Replace a manifest that is there.
        notice: Called with what is left out.
        progress: Called with (frames done, in all); each is read once to choose and once to cut.

    Raises:
        UsageError: Options that do not fit, a manifest in the way, or a video without a decoder.
        DataError, ImageError: Files that cannot be used, or degenerate boxes; the message names them.
    """
    began, modality, out = parse_start(start), Modality(modality), Path(out)
    _check(camera, pad, best, fps)
    manifest = out / "manifest.csv"
    if manifest.exists() and not overwrite:
        raise UsageError(f"{manifest} is there already; name another folder with --out, or say --overwrite")
    check_output(manifest, MANIFEST)
    if (out / CROPS).exists() and Path(frames).exists() and (out / CROPS).samefile(frames):
        raise UsageError(f"{out / CROPS} holds the frames; crops go there, so name another folder with --out")
    every, notes = _boxes(boxes, form, category)
    for note in notes if notice is not None else ():
        notice(note)  # type: ignore[misc]
    if min_confidence is not None and every and all(box.confidence is None for box in every):
        raise UsageError("the boxes have no confidence, so none can be asked for with --min-confidence")
    kept = [box for box in every if min_confidence is None or (box.confidence or 0.0) >= min_confidence]
    opened = open_frames(frames, value_range, fps)
    places = opened.places(dict.fromkeys(box.frame for box in kept), offset)
    faults = [fault for box in kept if (fault := box.fault())]
    sound = by_frame(box for box in kept if not box.fault())
    at = {places[frame]: found for frame, found in sound.items()}
    steps = Steps(2 * len(at), progress)
    cuts = list(_judged(opened, at, faults, steps))
    if faults and not skip_bad:
        raise DataError(_listed(faults))
    chosen = _best([cut for cut in cuts if cut.quality >= min_quality], best)
    rows = write_crops(opened, chosen, manifest, pad, (camera, began, modality), steps)
    tracklets = len({row["tracklet"] for row in rows if row["tracklet"]})
    if notice is not None and faults:
        notice(_listed(faults))
    return Cropped(manifest, len(rows), len(every), tracklets, tuple(faults))


def parse_start(start: datetime | str) -> datetime:
    """A time with its zone.

    Raises:
        UsageError: It is none, or has no zone.
    """
    try:
        time = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        raise UsageError(f"{clean(start, 60)!r} is no time; write it as 2026-03-01T22:00:00+01:00") from None
    if time.utcoffset() is None:
        raise UsageError(
            f"the time {time.isoformat()} has no zone; write one, as in {time.isoformat()}+01:00 or ...Z"
        )
    return time


def _check(camera: str, pad: float, best: int | None, fps: float | None) -> None:
    if not camera or len(camera) > LONGEST_NAME or camera != camera.strip() or not camera.isprintable():
        raise UsageError(
            f"the camera is {clean(camera, 60)!r}; a name has 1 to {LONGEST_NAME} printable letters"
        )
    if not 0 <= pad <= 1:
        raise UsageError(f"a box grows by a share from 0 to 1 of its size, got {pad}")
    if best is not None and best < 1:
        raise UsageError(f"the best {best} of a tracklet are none; give 1 or more")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"frames a second are more than 0, got {fps}")


def _boxes(boxes: Boxes, form: str | None, category: int | None) -> tuple[list[Box], list[str]]:
    if isinstance(boxes, Path | str):
        found = read_boxes(boxes, form, category)
        return found.boxes, found.notes
    if isinstance(boxes, Mapping):
        return [box for frame, one in boxes.items() for box in boxes_of(one, frame)], []
    return list(boxes), []


def _judged(
    frames: Frames,
    at: Mapping[int, list[Box]],
    faults: list[str],
    steps: Steps,
) -> Iterator[Cut]:
    for place, image, seconds in frames.read(at):
        for number, box in enumerate(at[place]):
            inner = whole_edges(box, 0.0, image.size)
            if inner[2] - inner[0] < MIN_SIDE or inner[3] - inner[1] < MIN_SIDE:
                faults.append(
                    f"{box.where}: less than {MIN_SIDE} x {MIN_SIDE} pixels lie within the frame of "
                    f"{image.width} x {image.height}"
                )
                continue
            others = [one for one in at[place] if one is not box]
            score = judge(image.crop(inner), box, image.size, others).score
            yield Cut(box, place, number, seconds, round(score, 4))
        steps.step()


def _best(cuts: Iterable[Cut], best: int | None) -> list[Cut]:
    """The best of each tracklet, in the order of frames; equal ones by frame."""
    if best is None:
        return list(cuts)
    groups: dict[str, list[Cut]] = {}
    kept = []
    for cut in cuts:
        if cut.box.tracklet is None:
            kept.append(cut)
        else:
            groups.setdefault(cut.box.tracklet, []).append(cut)
    for group in groups.values():
        kept += sorted(group, key=lambda cut: (-cut.quality, cut.place, cut.number))[:best]
    return sorted(kept, key=lambda cut: (cut.place, cut.number))


def _listed(faults: list[str]) -> str:
    more = f"\n  and {len(faults) - LISTED:,} more" if len(faults) > LISTED else ""
    return (
        f"{len(faults):,} box(es) show nothing that can be cut out (--skip-bad leaves such boxes out):\n  "
        + "\n  ".join(faults[:LISTED])
        + more
    )
