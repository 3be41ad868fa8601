"""Which pictures weights have learned from, by their content, under whatever layout or name they lie."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ivreid.types import Sample

SAMPLE = 2000
"""Pictures whose content is remembered; of every person some, as far as this goes."""
DIGITS = 16


def content_key(path: Path) -> str:
    """A file's size and the beginning of its SHA-256, such as "10240-0a1b..."; empty where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return f"{len(data)}-{hashlib.sha256(data).hexdigest()[:DIGITS]}"


def sample_contents(root: Path, samples: Iterable[Sample]) -> list[str]:
    """Content keys of a sample of pictures: in turn one of every person and modality, at most `SAMPLE`.

    Which ones depends on their paths alone. Contents that stand twice among them are left out: a black frame
    tells nobody.

    Args:
        root: The dataset's folder.
        samples: What was trained on, or selected on.
    """
    order = sorted(samples, key=lambda s: hashlib.sha256(s.path.encode(errors="surrogateescape")).digest())
    turn: Counter[tuple[int, str]] = Counter()
    ranked = []
    for sample in order:
        group = (sample.pid, sample.modality.value)
        ranked.append((turn[group], sample))
        turn[group] += 1
    chosen = [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])[:SAMPLE]]
    keys = Counter(content_key(root / sample.path) for sample in chosen)
    return sorted(key for key, count in keys.items() if key and count == 1)


def seen_among(root: Path, samples: Sequence[Sample], seen: Collection[str]) -> list[Sample]:
    """The samples whose content is among the keys; files of other sizes are not read.

    Args:
        root: The dataset's folder.
        samples: What to look at.
        seen: From `sample_contents`; anything else in it is ignored.
    """
    keys = {key for key in seen if isinstance(key, str)}
    sizes = {key.partition("-")[0] for key in keys}
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        path = root / sample.path
        try:
            if str(path.stat().st_size) not in sizes:
                continue
        except OSError:
            continue
        key = content_key(path)
        if key in keys:
            found.setdefault(key, []).append(sample)
    return [alike[0] for alike in found.values() if len({sample.pid for sample in alike}) == 1]
