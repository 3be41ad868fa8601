"""A folder of one's own: `ROOT/{visible,infrared}/{pid}/*.{jpg,png,bmp,webp,tif}`. The shortest reader to copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_picture
from ivreid.datasets.id_lists import whole_number
from ivreid.datasets.identities import SUFFIX, is_name, number_names, read_identities
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree
from ivreid.io import OWN_SUFFIXES
from ivreid.types import NO_CAMERA, Modality


@register_dataset
class FolderDataset(Reader):
    """Everything is in the split "test"; cameras are unknown, so no camera rule applies.

    People are called by whole numbers, or all by names.
    """

    name = "folder"
    recognised_by = ("visible", "infrared")
    suffixes = OWN_SUFFIXES
    own_numbers = True

    def modality_of(self, path: str) -> Modality | None:
        """By the first folder."""
        top = path.partition("/")[0]
        return Modality(top) if top in tuple(Modality) else None

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Every image below the folders of the two modalities."""
        found, sizes = [], {}
        tops = tree.require_folders(modality.value for modality in Modality)
        numbers, new = _names_of(tree, tops)
        for top in tops:
            folder_of: dict[int, str] = {}
            for name in tree.folder(top).folders:
                folder, pid = f"{top}/{name}", numbers.get(name, whole_number(name))
                if pid is None:
                    message = (
                        "an identity's folder is named by a whole number, such as 7 or 0007, or all by names"
                    )
                    tree.problems.add(Kind.WRONG_NAME, folder, message)
                    continue
                if folder_of.setdefault(pid, folder) != folder:
                    tree.problems.add(
                        Kind.WRONG_NAME, folder, f"the same identity {pid} as {folder_of[pid]}; merge them"
                    )
                images = tree.images(folder)
                if not images:
                    tree.problems.add(Kind.EMPTY_FOLDER, folder, "no image in it", fatal=False)
                for file, size in images.items():
                    found.append((f"{folder}/{file}", pid, NO_CAMERA, Modality(top)))
                    sizes[f"{folder}/{file}"] = size
        return DatasetScan({"test": number_frames(found)}, sizes, has_cameras=False, **new)

    def example(self, root: Path) -> Path:
        """Two people, two images of each in either modality."""
        for modality in Modality:
            for name in ("1/a.png", "1/b.png", "2/a.png", "2/b.png"):
                write_picture(root, f"{modality}/{name}")
        return root


def _names_of(tree: Tree, tops: Sequence[str]) -> tuple[dict[str, int], dict[str, Any]]:
    """The number of each folder where people are called by names, and what of the scan concerns that."""
    folders = dict.fromkeys(name for top in tops for name in tree.folder(top).folders)
    if not folders or any(whole_number(name) is not None or not is_name(name) for name in folders):
        return {}, {}
    known = read_identities(tree, SUFFIX)
    numbers = number_names(folders, known)
    return numbers, {"identities": numbers, "identities_file": SUFFIX, "identities_new": numbers != known}
