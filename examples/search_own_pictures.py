"""Find the person of an infrared picture among visible ones:

python examples/search_own_pictures.py runs/demo night.png day/*.png

For pictures that keep coming, of many cameras, there is a gallery: docs/gallery.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import ivreid


def main(weights: str, query: str, gallery: Sequence[str], k: int = 5) -> list[tuple[float, str]]:
    """The k nearest visible pictures: (cosine distance, file), nearest first."""
    model = ivreid.load(weights, device="cpu")
    visible = model.embed(list(gallery), modality="visible")
    infrared = model.embed(query, modality="infrared")
    ranking = ivreid.rank(infrared, visible, k=min(k, len(gallery)))
    found = [
        (float(d), gallery[int(i)]) for d, i in zip(ranking.distances[0], ranking.indices[0], strict=True)
    ]
    for distance, file in found:
        print(f"{distance:.3f}  {file}")
    print("nearest is not same: a person decides, see Responsible use in the README")
    return found


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
