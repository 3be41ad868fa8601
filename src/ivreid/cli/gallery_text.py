"""What the verbs of a gallery say, in lines."""

from __future__ import annotations

from collections.abc import Iterator

from ivreid.errors import counted
from ivreid.gallery import Binding, Crop, Receipt, Summary, Taken


def taken_sentence(taken: Taken) -> str:
    """What became of pictures that were given; what did not happen is left out."""
    parts = [counted(len(taken.added), "new crop")]
    parts += [f"{taken.known:,} there already"] if taken.known else []
    parts += [f"{taken.erased:,} refused, for they were erased"] if taken.erased else []
    parts += [f"{len(taken.bad):,} skipped"] if taken.bad else []
    return ", ".join(parts)


def summary_lines(summary: Summary, bound: Binding) -> Iterator[str]:
    """What a gallery holds, and for which model."""
    crops, tracklets = counted(summary.crops, "crop"), counted(summary.tracklets, "tracklet")
    yield f"{crops}, {tracklets}, {summary.bytes / 1e6:,.1f} MB"
    if summary.first is not None and summary.last is not None:
        yield f"from {summary.first.isoformat()} to {summary.last.isoformat()}"
        yield ", ".join(f"{n:,} {name}" for name, n in summary.modalities.items())
        yield "cameras: " + ", ".join(f"{name} ({n:,})" for name, n in summary.cameras.items())
    yield f"model: {bound.name}, {bound.dimension} values a crop, fingerprint {bound.fingerprint}"


def crop_line(crop: Crop) -> str:
    """What is known of a crop."""
    more = [f"tracklet {crop.tracklet}"] if crop.tracklet else []
    more += [f"pid {crop.pid}"] if crop.pid >= 0 else []
    return "  ".join([crop.id, crop.camera, crop.time.isoformat(), crop.modality.value, *more, crop.source])


def receipt_lines(receipt: Receipt) -> Iterator[str]:
    """What an erasure did, what is left, and what it cannot reach."""
    time = receipt.time.isoformat(timespec="seconds")
    yield f"{receipt.action}, {time}, receipt {receipt.id} in the audit"
    for title, lines in (("done", receipt.done), ("left", receipt.left), ("out of reach", receipt.beyond)):
        for line in lines:
            yield f"  {title}: {line}"
