"""A folder of one's own: `ROOT/{visible,infrared}/{pid}/*.{jpg,png,bmp,webp,tif}`. The shortest reader to copy."""

from __future__ import annotations

from pathlib import Path

from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_picture
from ivreid.datasets.id_lists import whole_number
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree
from ivreid.io import OWN_SUFFIXES
from ivreid.types import NO_CAMERA, Modality


@register_dataset
class FolderDataset(Reader):
    """Everything is in the split "test"; cameras are unknown, so no camera rule applies."""

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
        for top in tree.require_folders(modality.value for modality in Modality):
            folder_of: dict[int, str] = {}
            for name in tree.folder(top).folders:
                folder, pid = f"{top}/{name}", whole_number(name)
                if pid is None:
                    message = "an identity's folder is named by a whole number, such as 7 or 0007"
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
        return DatasetScan({"test": number_frames(found)}, sizes, has_cameras=False)

    def example(self, root: Path) -> Path:
        """Two people, two images of each in either modality."""
        for modality in Modality:
            for name in ("1/a.png", "1/b.png", "2/a.png", "2/b.png"):
                write_picture(root, f"{modality}/{name}")
        return root
