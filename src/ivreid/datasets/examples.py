"""Pictures for the small datasets that readers write as examples of their layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

SIDES = (8, 16)
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP"}


def write_picture(root: Path, name: str) -> str:
    """Write a tiny picture of the kind that its name ends in, and give the name back for a list.

    Args:
        root: The dataset's folder.
        name: The picture's path in it; another name is another colour.
    """
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(sum(name.encode()) * factor % 256 for factor in (3, 5, 7))
    Image.new("RGB", SIDES, colour).save(path, FORMATS[path.suffix])
    return name


def write_list(path: Path, lines: Iterable[object]) -> None:
    """Write a text of one value a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
