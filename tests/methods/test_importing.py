"""What importers share: names, refusals, advice; and the pages of methods."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

import ivreid
from ivreid.catalogue import DATASETS
from ivreid.cli.main import build_app
from ivreid.datasets.sysu_mm01 import SysuMM01
from ivreid.errors import CheckpointError, UsageError
from ivreid.methods import METHODS
from ivreid.methods.checkpoint_import import import_published, importers
from ivreid.methods.importer import Importer, looks_like
from ivreid.methods.iv_reid import IVReID
from ivreid.methods.publication import Publication
from ivreid.models import read_weights
from ivreid.models.sealed import Kind, write_sealed


class Renamed(IVReID):
    """IV-ReID under other names, as another repository might store it."""

    name = "renamed"
    importer = Importer(
        names={r"net\.(.+)": r"backbone.\1", r"neck\.(.+)": r"norm.\1"},
        dropped=(r"head\..+",),
        recognised_by=("net.conv1.weight", "neck.weight"),
        classes="head.weight",
        settings=lambda tensors, dataset: {
            "backbone": "resnet18",
            "margin": 0.2 if dataset == "regdb" else 0.3,
        },
        zero=("neck.bias",),
        flip="unit",
    )
    recipe = None
    training_only: ClassVar = IVReID.training_only


class Night(SysuMM01):
    """A dataset of one's own."""

    name = "night"


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    METHODS.register(Renamed)
    method = Renamed(Renamed.Settings(backbone="resnet18", pretrained=None), 7, (64, 32))  # type: ignore[call-arg]
    tensors = {"head.weight": torch.zeros(7, 512)}
    for name, value in method.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.startswith("backbone."):
            tensors["net." + name.removeprefix("backbone.")] = value
        elif name.startswith("norm."):
            tensors["neck." + name.removeprefix("norm.")] = value
    torch.save({"net": tensors, "epoch": 3}, tmp_path / "x.pth")
    return tmp_path / "x.pth", tensors


def save(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    torch.save(tensors, path)
    return path


def test_names_settings_classes_and_advice(checkpoint: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = checkpoint
    imported = import_published(path, "renamed", dataset="regdb", size=(64, 32))
    assert imported.method.num_classes == 7
    assert imported.card["settings"]["margin"] == 0.2
    assert imported.card["settings"]["last_stride"] == 1
    assert imported.card["advice"] == {"flip": "unit"}
    assert imported.card["preprocessing"]["size"] == [64, 32]
    assert imported.ignored == ("head.weight",)
    assert import_published(path, "renamed", last_stride=2).card["settings"]["last_stride"] == 2


def test_an_unknown_dataset_is_refused_with_the_nearest_name(
    checkpoint: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    path, _ = checkpoint
    for source in ("renamed", "iv-reid"):
        for wrong, nearest in (("sysu_mm01", "sysu-mm01"), ("regbd", "regdb")):
            with pytest.raises(UsageError, match=f"unknown dataset '{wrong}'; did you mean {nearest}"):
                import_published(tmp_path / "nowhere.pth", source, dataset=wrong)
    out = tmp_path / "w.safetensors"
    words = ["import", str(path), "--from", "renamed", "--size", "64x32", "--out", str(out), "--dataset"]
    refused = CliRunner().invoke(build_app("import"), [*words, "lcm"])
    assert isinstance(refused.exception, UsageError) and "did you mean llcm" in str(refused.exception)
    assert not out.exists()
    DATASETS.register(Night)
    for known in ("csv", "night"):  # the method has no settings of its own there
        assert CliRunner().invoke(build_app("import"), [*words, known]).exit_code == 0
        assert read_weights(out)[1]["settings"]["margin"] == 0.3


def test_a_checkpoint_is_converted_and_written_in_one_call(
    checkpoint: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    path, _ = checkpoint
    imported = ivreid.import_checkpoint(path, tmp_path / "w.safetensors", "renamed", size=(64, 32))
    tensors, card = read_weights(tmp_path / "w.safetensors")
    assert card["settings"] == imported.card["settings"] and card["preprocessing"]["size"] == [64, 32]
    assert tensors.keys() == imported.tensors.keys()
    with pytest.raises(UsageError, match=r"weights are written as \.safetensors; give .*w\.safetensors"):
        ivreid.import_checkpoint(path, tmp_path / "w.pth", "renamed")


@pytest.mark.parametrize("source", ["renamed", "iv-reid"])
def test_what_is_converted_already_is_told_so(
    checkpoint: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, source: str
) -> None:
    path, tensors = checkpoint
    ours, state = tmp_path / "w.safetensors", tmp_path / "last.safetensors"
    ivreid.import_checkpoint(path, ours, "renamed", size=(64, 32))
    with pytest.raises(
        CheckpointError, match=r"w\.safetensors needs no conversion: it holds weights of renamed"
    ):
        import_published(ours, source)
    write_sealed(state, Kind("checkpoint", "checkpoint", ""), tensors, {})
    with pytest.raises(CheckpointError, match=r"of kind 'checkpoint'.* use weights\.safetensors of a run"):
        import_published(state, source)
    safetensors.torch.save_file(tensors, tmp_path / "theirs.safetensors")
    assert import_published(tmp_path / "theirs.safetensors", "renamed").method.num_classes == 7


def test_a_file_of_another_kind_is_refused_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("epochs: 3\n")
    with pytest.raises(
        CheckpointError, match=r"f\.yaml is damaged or not a PyTorch checkpoint; give the"
    ) as told:
        import_published(tmp_path / "f.yaml", "iv-reid")
    assert "Error" not in str(told.value)


def test_what_does_not_belong_is_named(
    checkpoint: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    _, tensors = checkpoint
    extra = save(tmp_path / "extra.pth", {**tensors, "extra.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"extra\.pth: unknown tensor 'extra\.weight'"):
        import_published(extra, "renamed")
    less = save(tmp_path / "less.pth", {k: v for k, v in tensors.items() if k != "net.bn1.weight"})
    with pytest.raises(CheckpointError, match=r"'backbone\.bn1\.weight' is missing"):
        import_published(less, "renamed")
    biased = save(tmp_path / "biased.pth", {**tensors, "neck.bias": torch.full((512,), 1e-3)})
    with pytest.raises(CheckpointError, match=r"'neck\.bias' must be 0"):
        import_published(biased, "renamed")


def test_a_checkpoint_of_another_method_is_recognised(
    checkpoint: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    path, _ = checkpoint
    other = save(
        tmp_path / "iv.pth", {"base.conv1.weight": torch.zeros(1), "share_classifier.weight": torch.zeros(1)}
    )
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of renamed.*--from iv-reid"):
        import_published(other, "renamed")
    with pytest.raises(UsageError, match="unknown format 'renam'"):
        import_published(path, "renam")
    assert looks_like({"a": torch.zeros(1)}, {"x": Importer({}, recognised_by=("a", "b"))}) == ()


def test_every_method_has_a_page_and_a_place_in_the_list() -> None:
    for name in METHODS:
        done = CliRunner().invoke(build_app("methods"), ["methods", name])
        assert done.exit_code == 0, done.output
        assert "options" in done.output
    listed = CliRunner().invoke(build_app("methods"), ["methods"])
    assert listed.exit_code == 0
    assert all(re.search(rf"│\s*{name}\s*│", listed.output) for name in METHODS)


def test_how_a_publication_is_cited() -> None:
    paper = Publication("A Long Title", "Ann Smith and Bo Li and Cy Wu", "TPAMI", 2021)
    assert paper.short == "Smith et al., TPAMI 2021"
    assert paper.bibtex.startswith("@article{smith2021a,\n  title = {A Long Title},")
    two = Publication("T", "Smith, Ann and Li, Bo", "CVPR", 2023)
    assert two.short == "Smith and Li, CVPR 2023"
    assert two.bibtex.startswith("@inproceedings{smith2023t,")


@pytest.mark.parametrize("method", list(importers()))
@pytest.mark.parametrize("asked", list(importers()))
def test_a_checkpoint_of_another_method_is_named(asked: str, method: str, tmp_path: Path) -> None:
    """Each method's telling tensors, imported as every other's; those of one family cannot be told apart."""
    known = importers()
    telling = {name: torch.ones(2, 2) for name in known[method].recognised_by}
    if "DEE.FC11.weight" in telling:  # its files hold the family's shared network, too
        telling["base_resnet.base.layer4.2.conv3.weight"] = torch.ones(2, 2)
    if known[asked].recognised_by == known[method].recognised_by:
        return
    torch.save(telling, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="is not a checkpoint of") as caught:
        import_published(tmp_path / "w.pth", asked)
    looks = str(caught.value).partition("it looks like one of ")[2].partition(":")[0]
    assert known[looks].recognised_by == known[method].recognised_by
    assert f"--from {looks}" in str(caught.value)
