"""LLCM (Zhang and Wang, CVPR 2023): nine cameras in low light, visible and near-infrared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ivreid.datasets.base import DatasetScan, Reader, number_frames
from ivreid.datasets.examples import write_list, write_picture
from ivreid.datasets.id_lists import Entry, check_labels, read_entries, read_ids, require_files, whole_number
from ivreid.datasets.problems import Kind
from ivreid.datasets.registry import register_dataset
from ivreid.datasets.tree import Tree
from ivreid.types import NO_CAMERA, Modality, Sample

WORDS = {"vis": Modality.VISIBLE, "nir": Modality.INFRARED}
CAMERAS = {"vis": (1, 2, 3, 4, 5, 6, 7, 8, 9), "nir": (1, 2, 4, 5, 6, 7, 8, 9)}
TEST_IDS = "idx/test_id.txt"


@register_dataset
class LLCM(Reader):
    """Training images in `ROOT/{vis,nir}/`, test ones in `ROOT/test_{vis,nir}/cam{c}/`."""

    name = "llcm"
    recognised_by = ("test_vis", "test_nir", "idx")
    released = {"train identities": 713, "test identities": 351}  # noqa: RUF012

    def modality_of(self, path: str) -> Modality | None:
        """By the first folder."""
        return WORDS.get(path.partition("/")[0].removeprefix("test_"))

    def read(self, tree: Tree, trial: int | None) -> DatasetScan:
        """Training images by their lists, test images by the identity list."""
        sizes: dict[str, int] = {}
        splits = {"train": self._train(tree, sizes), "test": self._test(tree, sizes)}
        facts = {f"{split} identities": len({s.pid for s in rows}) for split, rows in splits.items()}
        return DatasetScan(splits, sizes, facts)

    def _train(self, tree: Tree, sizes: dict[str, int]) -> list[Sample]:
        samples = []
        named: list[tuple[Entry, int]] = []
        for word, modality in WORDS.items():
            found = []
            for top in tree.require_folders([word]):
                for folder, pid in _identities(tree, top):
                    for file, size in tree.images(folder).items():
                        path = f"{folder}/{file}"
                        found.append((path, pid, _camera(tree, path, pid, word), modality))
                        sizes[path] = size
            on_disk = {sample.path: sample for sample in number_frames(found)}
            entries = read_entries(tree, f"idx/train_{word}.txt", word)
            require_files(tree, entries, on_disk)
            known = [entry for entry in entries if entry.path in on_disk]
            named += [(entry, on_disk[entry.path].pid) for entry in known]
            samples += [on_disk[entry.path] for entry in known]
            for path in sorted(set(on_disk) - {entry.path for entry in entries}) if entries else ():
                message = f"an image on disk that idx/train_{word}.txt does not name"
                tree.problems.add(Kind.NOT_LISTED, path, message, fatal=False)
        check_labels(tree, named, lists="idx/train_{vis,nir}.txt", contiguous=True)
        return samples

    def _test(self, tree: Tree, sizes: dict[str, int]) -> list[Sample]:
        found = []
        for word, modality in WORDS.items():
            on_disk: dict[str, int] = {}
            # the draws take every file of a folder, so this list only cross-checks the copy
            entries = read_entries(tree, f"idx/test_{word}.txt", f"test_{word}", required=False)
            for camera in tree.require_folders(_test_cameras(tree, word, entries)):
                camid = int(camera.rpartition("cam")[2])
                for folder, pid in _identities(tree, camera):
                    for file, size in tree.images(folder).items():
                        on_disk[f"{folder}/{file}"] = size
                        found.append((f"{folder}/{file}", pid, camid, modality))
            sizes.update(on_disk)
            require_files(tree, entries, on_disk, required=False)
        pids = set(read_ids(tree, TEST_IDS))
        for pid in sorted(pids - {pid for _, pid, _, _ in found}):
            message = f"identity {pid} is listed, but test_vis/ and test_nir/ have no images of it"
            tree.problems.add(Kind.MISSING_FILE, TEST_IDS, message)
        for path, pid, _, _ in found:
            if pids and pid not in pids:
                tree.problems.add(Kind.NOT_LISTED, path, f"identity {pid} is not in {TEST_IDS}", fatal=False)
        return [sample for sample in number_frames(found) if sample.pid in pids]

    def example(self, root: Path) -> Path:
        """Two people to train on at two cameras, two to test on at every camera."""
        for word, cameras in CAMERAS.items():
            train = [
                f"{write_picture(root, f'{word}/{pid:04d}/{pid:04d}_c{camid:02d}_s100_f{frame}_{word}.jpg')} {label}"
                for label, pid in enumerate((3, 7))
                for camid in cameras[:2]
                for frame in (8, 12)
            ]
            write_list(root / f"idx/train_{word}.txt", train)
            test = [
                f"{write_picture(root, f'test_{word}/cam{camid}/{pid:04d}/{pid:04d}_c{camid:02d}_s1_f1_{word}.jpg')}"
                f" {pid}"
                for camid in cameras
                for pid in (4, 9)
            ]
            write_list(root / f"idx/test_{word}.txt", test)
        write_list(root / TEST_IDS, ["4,9"])
        return root


def _test_cameras(tree: Tree, word: str, entries: Sequence[Entry]) -> list[str]:
    """The folders there must be: every camera's, but for those that a small set's list does not name."""
    cameras = [f"test_{word}/cam{c}" for c in CAMERAS[word]]
    named = {entry.path.rpartition("/")[0].rpartition("/")[0] for entry in entries}
    return [camera for camera in cameras if not named or camera in named or tree.has_folder(camera)]


def _identities(tree: Tree, top: str) -> list[tuple[str, int]]:
    found = []
    for name in tree.folder(top).folders:
        pid = whole_number(name)
        if pid is None or len(name) != 4 or pid < 1:
            message = "an identity's folder is named by four digits, such as 0007"
            tree.problems.add(Kind.WRONG_NAME, f"{top}/{name}", message)
        else:
            found.append((f"{top}/{name}", pid))
            if not tree.images(f"{top}/{name}"):
                tree.problems.add(Kind.EMPTY_FOLDER, f"{top}/{name}", "no image in it", fatal=False)
    return found


def _camera(tree: Tree, path: str, pid: int, word: str) -> int:
    """The camera from `{id}_c{cam}_s{scene}_f{frame}_{word}`, `NO_CAMERA` where the name does not tell."""
    words = path.rpartition("/")[2].rpartition(".")[0].split("_")
    named = whole_number(words[0])
    camid = whole_number(words[1].removeprefix("c")) if len(words) > 2 else None
    if named is None or not camid:
        message = f"no camera can be read from the name; it should be like {pid:04d}_c01_s1_f1_{word}.jpg"
        tree.problems.add(Kind.WRONG_NAME, path, message, fatal=False)
        return NO_CAMERA
    if named != pid:
        tree.problems.add(Kind.WRONG_NAME, path, f"the name says identity {named}, the folder {pid}")
    if words[-1] in WORDS and words[-1] != word:
        tree.problems.add(Kind.WRONG_NAME, path, f"the name says {words[-1]!r}, but it lies under {word}/")
    return camid
