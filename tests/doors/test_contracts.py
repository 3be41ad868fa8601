"""The contract tests: every class of ours passes, and each fault is found and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from ivreid.catalogue import DATASETS, METHODS
from ivreid.datasets import DatasetScan, Reader, Tree
from ivreid.datasets.csv_table import CsvDataset
from ivreid.datasets.folder import FolderDataset
from ivreid.datasets.regdb import RegDB
from ivreid.errors import IvreidError, UsageError
from ivreid.methods import Method, MethodSettings
from ivreid.methods.recipe import Recipe
from ivreid.testing import BrokenContract, check_dataset, check_method
from ivreid.types import Modality, Sample


class Settings(MethodSettings):
    """Options of the smallest method."""

    pretrained: str | None = Field(None, description="initial weights")
    width: int = Field(6, description="numbers of an embedding")


class Sound(Method):
    """The smallest sound method, with a part that is frozen and a buffer that `embed` does not use."""

    name = "sound"
    citation = "none"
    Settings = Settings
    small: ClassVar = {"width": 5}
    small_size = (16, 8)
    search: ClassVar = {"width": {"choices": (4, 5)}}
    training_only = ("head.", "slow")

    def __init__(self, settings: Settings, num_classes: int, size: tuple[int, int]) -> None:
        super().__init__(settings, num_classes, size)
        self.embedding_dim = settings.width
        self.conv = nn.Conv2d(3, settings.width, 3)
        self.norm = nn.BatchNorm1d(settings.width)
        self.norm.bias.requires_grad_(False)  # frozen, as in a neck without shift
        self.head = nn.Linear(settings.width, num_classes)
        self.register_buffer("slow", torch.zeros(num_classes))
        self.weight = 1.0

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        return self.norm(self.conv(images).mean((2, 3)))

    def forward(
        self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
    ) -> dict[str, Tensor]:
        logits = self.head(self.embed(images, infrared))
        return {"identity": self.weight * nn.functional.cross_entropy(logits.float(), labels)}


def test_a_sound_method_passes_registered_or_not() -> None:
    check_method(Sound)
    assert "sound" not in METHODS
    METHODS.register(Sound)
    check_method(Sound)
    assert METHODS["sound"] is Sound


def init(self: Sound, settings: Settings, num_classes: int, size: tuple[int, int], change: Any) -> None:
    Sound.__init__(self, settings, num_classes, size)
    change(self)


def broken_init(change: Any) -> dict[str, Any]:
    return {
        "__init__": lambda self, settings, num_classes, size: init(self, settings, num_classes, size, change)
    }


def losses(change: Any) -> dict[str, Any]:
    return {
        "forward": lambda self, images, labels, infrared, view=None: change(
            self, Sound.forward(self, images, labels, infrared, view), images
        )
    }


def embedding(change: Any) -> dict[str, Any]:
    return {
        "embed": lambda self, images, infrared: change(self, Sound.embed(self, images, infrared), images),
        "forward": Sound.forward,
    }


def unused(self: Any) -> None:
    self.spare = nn.Linear(2, 2)


def fluctuating(self: Any) -> None:
    self.head.weight.data = torch.rand(
        self.head.weight.shape, generator=torch.Generator().manual_seed(id(self))
    )


def own_seed(self: Any) -> None:
    torch.random.set_rng_state(torch.Generator().manual_seed(3).get_state())


def counted(self: Any, found: Tensor, images: Tensor) -> Tensor:
    if not self.training:
        self.slow += 1
    return found


def changing(self: Any, found: Any, images: Tensor) -> Any:
    images.mul_(2)
    return found


def measuring(self: Any, found: Any, images: Tensor) -> Any:
    self.measures["own"] = found["identity"]
    return found


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "settings": (
        {"small": {"widht": 3}},
        r"cannot be built with its `small` settings .*widht: unknown; did you mean width",
    ),
    "no small": ({"small": {"width": -1}}, "cannot be built with its `small` settings .*negative"),
    "unused": (broken_init(unused), r"no loss reaches the parameter 'spare\.weight' in epoch 0"),
    "seed": (broken_init(fluctuating), r"'head\.weight' starts differently for the same seed"),
    "size": (
        broken_init(lambda self: setattr(self, "size", (3, 3))),
        r"`size` is \(3, 3\), not \(16, 8\); hand",
    ),
    "classes": (broken_init(lambda self: setattr(self, "num_classes", 9)), "`num_classes` is 9, not 4"),
    "scalar": (
        losses(lambda self, found, images: found["identity"]),
        "training step in epoch 0: the method 'sound' returned a tensor",
    ),
    "nan": (losses(lambda self, found, images: {"a": found["identity"] * torch.nan}), "the loss 'a' is nan"),
    "measures": (losses(measuring), "`measures` holds 'own', which is no scalar tensor without gradient"),
    "images": (losses(changing), "`forward` changes the images"),
    "no gradient": (
        losses(lambda self, found, images: {"a": found["identity"].detach()}),
        "the gradient of its losses: RuntimeError",
    ),
    "half": (
        losses(
            lambda self, found, images: {
                "a": found["identity"] + (1e400 if torch.is_autocast_enabled("cpu") else 0)
            }
        ),
        "the loss 'a' overflows in bfloat16; compute it in float32",
    ),
    "infinite gradient": (
        losses(lambda self, found, images: {"a": found["identity"] + (self.head.weight * 0).sum().sqrt()}),
        r"the gradient of 'head\.weight' is NaN or infinite",
    ),
    "phase": (
        {
            "begin_epoch": lambda self, epoch: setattr(self, "late", epoch > 9),
            **losses(
                lambda self, found, images: found if not self.late else {"a": self.head.weight.sum() * 0}
            ),
        },
        r"no loss reaches the parameter 'conv\.weight' in epoch 10000",
    ),
    "memory": (
        {"begin_epoch": lambda self, epoch: setattr(self, "weight", self.weight / (1 + epoch))},
        r"begin_epoch\(0\) after another epoch is not begin_epoch\(0\)",
    ),
    "group twice": (
        {
            "parameter_groups": lambda self, lr: [
                {"name": n, "params": list(self.parameters()), "lr": lr} for n in "ab"
            ]
        },
        r"the parameter group 'b' holds 'conv\.weight', which another group has",
    ),
    "group without": (
        {
            "parameter_groups": lambda self, lr: [
                {"name": "a", "params": list(self.head.parameters()), "lr": lr}
            ]
        },
        r"no parameter group holds 'conv\.weight', so it would never learn",
    ),
    "nameless group": (
        {"parameter_groups": lambda self, lr: [{"params": list(self.parameters()), "lr": lr}]},
        "the parameter group None needs a `name`",
    ),
    "foreign group": (
        {
            "parameter_groups": lambda self, lr: [
                {"name": "a", "params": [nn.Parameter(torch.ones(1))], "lr": lr}
            ]
        },
        "holds a tensor that is none of the method's parameters",
    ),
    "shape": (
        broken_init(lambda self: setattr(self, "embedding_dim", 7)),
        r"`embed` gives \(16, 5\), not \(16, 7\)",
    ),
    "double": (
        embedding(lambda self, found, images: found if self.training else found.double()),
        r"gives torch\.float64",
    ),
    "infinite": (
        embedding(lambda self, found, images: found if self.training else found / 0),
        "NaN or infinite values",
    ),
    "neighbours": (
        embedding(lambda self, found, images: found if self.training else found - found.mean(0)),
        "an image's embedding depends on the other images of its batch",
    ),
    "constant": (
        embedding(lambda self, found, images: found if self.training else 0 * found + 1),
        "`embed` gives every infrared image the same embedding",
    ),
    "state": (embedding(counted), "embedding changes 'slow'"),
    "prefix": (
        {"training_only": ("haed.",)},
        r"`training_only` names 'haed\.', but no parameter's name starts so",
    ),
    "needed": (
        {"training_only": ("head.", "slow", "norm.")},
        r"weights without the `training_only` parameters restore another",
    ),
    "search": ({"search": {"widht": {"choices": (1, 2)}}}, "`search`: .*widht: no such setting"),
    "range": ({"search": {"width": {"low": 4, "high": 1}}}, "`search`: .*low 4 must be below high 1"),
    "recipe": (
        {"recipe": Recipe({"epoch": 3}, {"regdb": {}})},
        "its recipe on regdb: .*epoch: unknown key; did you mean epochs",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_method_is_named(fault: str) -> None:
    changes, message = FAULTS[fault]
    with pytest.raises(BrokenContract, match=message) as caught:
        check_method(type("Broken", (Sound,), changes))
    assert str(caught.value).startswith("sound")
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, IvreidError)
    assert "sound" not in METHODS


def test_a_method_without_initial_weights_needs_no_setting_for_them() -> None:
    class Bare(MethodSettings):
        """No `pretrained`."""

        width: int = Field(5, description="numbers of an embedding")

    check_method(type("Small", (Sound,), {"name": "small", "Settings": Bare}))


def test_a_method_that_needs_views_gets_them() -> None:
    seen: list[Any] = []

    class Pairs(Sound):
        """It needs two views of each visible image."""

        views = 2

        def forward(
            self, images: Tensor, labels: Tensor, infrared: Tensor, view: Tensor | None = None
        ) -> dict[str, Tensor]:
            assert view is not None
            seen.append((labels.bincount().tolist(), [int(((view == v) & ~infrared).sum()) for v in (0, 1)]))
            assert not (infrared & (view > 0)).any()
            return super().forward(images, labels, infrared, view)

    check_method(Pairs)
    assert seen and all(one == ([6] * 4, [8, 8]) for one in seen)


# Datasets


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_keeps_the_contract(name: str) -> None:
    check_dataset(DATASETS[name])


def test_a_real_folder_is_read_besides(tmp_path: Path) -> None:
    root = FolderDataset().example(tmp_path / "mine")
    check_dataset(FolderDataset, root)
    (root / "visible" / "1" / "c.png").write_bytes(b"")
    with pytest.raises(
        BrokenContract, match=r"folder: healthy data have a problem: empty file: visible/1/c\.png"
    ):
        check_dataset(FolderDataset, root)


def scanned(base: type[Reader], change: Any) -> dict[str, Any]:
    def read(self: Reader, tree: Tree, trial: int | None) -> DatasetScan:
        scan = base.read(self, tree, trial)
        change(scan, tree)
        return scan

    return {"read": read}


def samples(**changes: Any) -> Any:
    def change(scan: DatasetScan, tree: Tree) -> None:
        for name, rows in scan.splits.items():
            fields = ("path", "pid", "camid", "modality", "frame")
            scan.splits[name] = [Sample(**{f: changes.get(f, getattr(s, f)) for f in fields}) for s in rows]

    return change


def stops(scan: DatasetScan, tree: Tree) -> None:
    if len(scan.splits["test"]) < 8:
        raise ValueError("too few")


def renamed(scan: DatasetScan, tree: Tree) -> None:
    scan.splits["query"] = scan.splits.pop("test")


def one_person(scan: DatasetScan, tree: Tree) -> None:
    scan.splits["test"] = [s for s in scan.splits["test"] if s.pid == 1]


def forgetful(scan: DatasetScan, tree: Tree) -> None:
    scan.images.popitem()


READERS: dict[str, tuple[type[Reader], dict[str, Any], str]] = {
    "no example": (FolderDataset, {"example": Reader.example}, "the dataset 'folder' has no `example`"),
    "stops": (
        FolderDataset,
        scanned(FolderDataset, stops),
        "reading stops at a missing image; note it .*ValueError: too few",
    ),
    "splits": (
        FolderDataset,
        scanned(FolderDataset, renamed),
        "splits are called train, val, test, not query",
    ),
    "one person": (
        FolderDataset,
        scanned(FolderDataset, one_person),
        "the split test holds fewer than two people",
    ),
    "forgetful": (
        FolderDataset,
        scanned(FolderDataset, forgetful),
        "`images` of the scan must hold every image",
    ),
    "elsewhere": (
        CsvDataset,
        scanned(CsvDataset, samples(path="x.jpg")),
        "x.jpg of the split train is no file",
    ),
    "frames": (CsvDataset, scanned(CsvDataset, samples(frame=0)), "frames count from 1"),
    "camera": (
        CsvDataset,
        scanned(CsvDataset, samples(camid=0)),
        "camera 0 is none; count from 1, or say has_cameras=False",
    ),
    "cameras": (
        CsvDataset,
        {"cameras": {1: Modality.VISIBLE, 2: Modality.VISIBLE}},
        "is infrared, but `cameras` says visible of camera 2",
    ),
    "twice": (
        CsvDataset,
        scanned(CsvDataset, samples(frame=1)),
        "has the pid, camera, frame and modality of another image",
    ),
    "pid": (CsvDataset, scanned(CsvDataset, samples(modality="visible")), "modality is 'visible'"),
    "protocol": (
        CsvDataset,
        {"protocol": "regbd"},
        "its protocol: unknown protocol 'regbd'; did you mean regdb",
    ),
    "cameras of the protocol": (
        CsvDataset,
        {"protocol": "sysu-mm01"},
        "its protocol: camera 2 holds an image called infrared",
    ),
    "recognised_by": (
        RegDB,
        {"recognised_by": ("Visible", "Thermal", "lists")},
        "by its `recognised_by` a folder .* recognised as regdb",
    ),
}


@pytest.mark.parametrize("fault", READERS)
def test_each_fault_of_a_reader_is_named(fault: str) -> None:
    base, changes, message = READERS[fault]
    broken = type("Broken", (base,), {"name": "broken", "recognised_by": (), **changes})
    if fault == "no example":
        message = message.replace("'folder'", "'broken'")
    with pytest.raises(UsageError if fault == "no example" else BrokenContract, match=message) as caught:
        check_dataset(broken)
    assert "broken" in str(caught.value)
    assert "broken" not in DATASETS
    assert Modality.VISIBLE.value == "visible"
