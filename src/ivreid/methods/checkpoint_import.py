"""Checkpoints that other programs published, converted to methods of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivreid.catalogue import DATASETS, METHODS
from ivreid.data.settings import Preprocessing
from ivreid.errors import CheckpointError, UsageError, did_you_mean
from ivreid.io import check_output, file_hash
from ivreid.methods.base import Method
from ivreid.methods.building import build
from ivreid.methods.importer import Importer, Tensors, looks_like
from ivreid.methods.iv_reid import IVReID
from ivreid.models import MAX_CLASSES, read_card, read_checkpoint, write_weights
from ivreid.models.sealed import TEXT, read_safetensors
from ivreid.models.weights import WEIGHTS_FILE

RESNET_BLOCKS: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}
RENAMED = {"base.": "backbone.", "bottleneck.": "norm.", "share_classifier.": "shared_classifier."}
LEFT_OUT = "base.fc."
"""ImageNet's classifier, which some files still hold inside the backbone."""


@dataclass(frozen=True)
class Imported:
    """A converted checkpoint.

    Attributes:
        method: The method in evaluation mode.
        tensors: What to write: the method's tensors that the file gave.
        card: The card to write beside them.
        ignored: Names of tensors in the file that embedding does not need.
        remarks: Where in the file the tensors stood, and what was taken off their names; often nothing.
    """

    method: Method
    tensors: Tensors
    card: Mapping[str, Any]
    ignored: tuple[str, ...]
    remarks: str = ""


def import_checkpoint(
    path: Path | str,
    out: Path | str,
    source: str = "iv-reid",
    *,
    dataset: str = "sysu-mm01",
    last_stride: int | None = None,
    size: tuple[int, int] | None = None,
) -> Imported:
    """Convert a published checkpoint to safe weights and write them, executing nothing it contains.

    Args:
        path: The checkpoint.
        out: The weights to write, `.safetensors`.
        source: Whose it is: a method's name.
        dataset: The dataset it was trained on.
        last_stride: Stride of its last stage; as published where not given.
        size: Height and width of its images; as published where not given.

    Raises:
        UsageError: A source, dataset or name of the output that does not fit.
        CheckpointError: A file that cannot be read safely, or is not of that source.
    """
    path, out = Path(path), Path(out)
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"--out {out} is the checkpoint itself; choose another name")
    check_output(out, WEIGHTS_FILE)
    imported = import_published(path, source, dataset=dataset, last_stride=last_stride, size=size)
    write_weights(out, imported.tensors, imported.card)
    return imported


def import_published(
    path: Path | str,
    source: str,
    *,
    dataset: str = "sysu-mm01",
    last_stride: int | None = None,
    size: tuple[int, int] | None = None,
) -> Imported:
    """A published checkpoint as weights, without executing anything in it.

    Args:
        path: The checkpoint.
        source: Whose it is: a method's name.
        dataset: Which dataset it was trained on; some methods have another network there.
        last_stride: Stride of the last stage, which no tensor tells; None: as published.
        size: Height and width of the images, which no tensor tells; None: the recipe's on that dataset.

    Raises:
        UsageError: No importer, or no dataset, of that name.
        CheckpointError: A file that cannot be read safely, that is of another method (the message says which it
            looks like), or that is converted already.
    """
    kind: type[Method] | None = METHODS.get(source)
    if kind is None or kind.importer is None:
        raise UsageError(f"unknown format {source!r} for --from; {did_you_mean(source, importers())}")
    if dataset not in DATASETS:
        raise UsageError(DATASETS.unknown(dataset))
    refuse_own(path)
    if source == "iv-reid":
        return import_iv_reid(path, last_stride=last_stride or 1, size=size or image_size(IVReID, dataset))
    importer = kind.importer
    checkpoint = read_checkpoint(path)
    tensors = finite(checkpoint.tensors, str(path))
    refuse_other(tensors, source, str(path), f"{source} on {dataset}")
    importer.check(tensors, str(path))
    renamed, ignored = importer.rename(tensors, str(path))
    settings = {"pretrained": None, **importer.settings(tensors, dataset)}
    if last_stride is not None:
        if "last_stride" not in kind.Settings.model_fields:
            raise UsageError(f"the last stride of {source} cannot be chosen; leave --last-stride out")
        settings["last_stride"] = last_stride
    classes = class_count(tensors[importer.classes], str(path)) if importer.classes in tensors else 1
    height_width = size or image_size(kind, dataset)
    method = build(source, settings, classes, size=height_width, pretrained=False).eval()
    fill_counters(method, renamed)
    method.load_tensors(renamed, str(path))
    card = card_of(method, source, dataset, Path(path), importer.flip)
    return Imported(method, renamed, card, ignored, checkpoint.remarks)


def import_iv_reid(path: Path | str, *, last_stride: int = 1, size: tuple[int, int] = (384, 128)) -> Imported:
    """IV-ReID's published checkpoint: the pickled whole module, or a state dict of the same names.

    Depth, norm layer, identities and the classifier's bias are read from the tensors. Conv biases fold into
    the norm layer behind them (running mean minus bias), which changes no output in evaluation.

    Args:
        path: The checkpoint; nothing in it is executed.
        last_stride: Stride of the last stage it was trained with; the tensors do not tell. Published: 1.
        size: Height and width of its images; the tensors do not tell. Published: 384, 128.

    Raises:
        CheckpointError: A file that cannot be read safely, or is not such a network; the message says why.
    """
    checkpoint = read_checkpoint(path)
    source = finite(checkpoint.tensors, str(path))
    refuse_other(source, "iv-reid", str(path), "IV-ReID")
    settings = {
        "backbone": _depth(source, str(path)),
        "pretrained": None,
        "last_stride": last_stride,
        "stem_relu": False,
        "norm": _norm(source),
        "classifier_bias": "share_classifier.bias" in source,
    }
    tensors, ignored = _rename(_fold_biases(source, str(path)))
    num_classes = class_count(source["share_classifier.weight"], str(path))
    method = build("iv-reid", settings, num_classes, size=size, pretrained=False).eval()
    fill_counters(method, tensors)
    method.load_tensors(tensors, str(path))
    card = card_of(method, "iv-reid", "sysu-mm01", Path(path))
    return Imported(method, tensors, card, tuple(ignored), checkpoint.remarks)


def importers() -> dict[str, Importer]:
    """What `ivreid import --from` knows, by method."""
    return {name: kind.importer for name, kind in METHODS.items() if kind.importer is not None}


def refuse_own(path: Path | str) -> None:
    """Refuse what needs no conversion, for this package wrote it.

    Raises:
        CheckpointError: The message says whose weights they are, or what else the file is.
    """
    try:
        card = read_card(path)
    except CheckpointError:
        if Path(path).suffix == ".safetensors" and Path(path).is_file():
            _, head = read_safetensors(path)
            if TEXT in head.metadata:
                raise
        return
    raise CheckpointError(
        f"{path} needs no conversion: it holds weights of {card['method']} that ivreid wrote; use it as it is, where a "
        "weights file or run folder is asked for"
    )


def refuse_other(tensors: Tensors, method: str, path: str, called: str) -> None:
    """Refuse tensors that are not a method's checkpoint, or are more like another's.

    Raises:
        CheckpointError: The message says what they look like.
    """
    known = importers()
    likely = looks_like(tensors, known)
    lacking = [name for name in known[method].recognised_by if name not in tensors]
    if lacking:
        why = f"it lacks {lacking[0]!r} (it holds {', '.join(sorted(tensors)[:3])}, ...)"
    elif likely and len(known[likely[0]].recognised_by) > len(known[method].recognised_by):
        told = next(
            name for name in known[likely[0]].recognised_by if name not in known[method].recognised_by
        )
        why = f"it holds {told!r}"
    else:
        return
    hint = f"; it looks like one of {likely[0]}: --from {likely[0]}" if likely else ""
    raise CheckpointError(f"{path} is not a checkpoint of {called}: {why}{hint}")


def finite(tensors: Tensors, path: str) -> dict[str, Tensor]:
    """The tensors in float32 (integers as they are).

    Raises:
        CheckpointError: NaN or infinite values.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"{path} holds NaN or infinite values in {name!r}")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def class_count(weight: Tensor, path: str) -> int:
    """The training identities of a classifier.

    Raises:
        CheckpointError: It has a shape that no classifier has; a small file must not ask for a large network.
    """
    if weight.ndim != 2 or not 1 <= len(weight) <= MAX_CLASSES or not weight.numel():
        raise CheckpointError(f"{path}: its classifier has the impossible shape {tuple(weight.shape)}")
    return len(weight)


def fill_counters(method: Method, tensors: dict[str, Tensor]) -> None:
    """Add the batch counters of norm layers, which nothing reads and early files lack."""
    for name, own in method.state_dict().items():
        if name.endswith("num_batches_tracked") and not name.startswith(method.training_only or ("\0",)):
            tensors.setdefault(name, torch.zeros_like(own))


def image_size(kind: type[Method], dataset: str) -> tuple[int, int]:
    """Height and width that the method's recipe has for a dataset."""
    data = kind.recipe.on(dataset).get("data", {}) if kind.recipe else {}
    height, width = data.get("size", Preprocessing().size)
    return int(height), int(width)


def card_of(method: Method, source: str, dataset: str, path: Path, flip: str | None = None) -> dict[str, Any]:
    """The card of converted weights."""
    data = method.recipe.on(dataset).get("data", {}) if method.recipe else {}
    read = {key: data[key] for key in ("mean", "std", "resize") if key in data}
    preprocessing = Preprocessing.model_validate({"size": method.size, **read})
    advice = {"advice": {"flip": flip}} if flip else {}
    return {
        **method.card(),
        "preprocessing": preprocessing.model_dump(mode="json"),
        "source": {"format": source, "file": path.name, "sha256_16": file_hash(path)},
        **advice,
    }


def _depth(tensors: Mapping[str, Tensor], path: str) -> str:
    kind = "bottleneck" if "base.layer1.0.conv3.weight" in tensors else "basic"
    found = {m.groups() for name in tensors if (m := re.match(r"base\.layer([1-4])\.(\d+)\.", name))}
    blocks = tuple(sum(stage == str(i) for stage, _ in found) for i in (1, 2, 3, 4))
    if (kind, blocks) not in RESNET_BLOCKS:
        raise CheckpointError(
            f"{path}: its backbone has {blocks} {kind} blocks, which is none of "
            f"{', '.join(RESNET_BLOCKS.values())}"
        )
    return RESNET_BLOCKS[kind, blocks]


def _norm(tensors: Mapping[str, Tensor]) -> str:
    if "bottleneck.running_mean" in tensors:
        return "bn"
    return "gn" if "bottleneck.weight" in tensors else "none"


def _fold_biases(tensors: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    """BN((Wx + b) - mu) = BN(Wx - (mu - b)): each conv bias moves into the running mean behind it."""
    folded = dict(tensors)
    for name, bias in tensors.items():
        conv = re.fullmatch(r"(base\.(?:.+\.)?)(?:conv(\d)|downsample\.(0))\.bias", name)
        if conv is None:
            continue
        mean = f"{conv[1]}bn{conv[2]}.running_mean" if conv[2] else f"{conv[1]}downsample.1.running_mean"
        if mean not in folded or folded[mean].shape != bias.shape:
            raise CheckpointError(f"{path}: {name!r} has no {mean!r} of the same length to fold into")
        folded[mean] = folded[mean] - bias
        del folded[name]
    return folded


def _rename(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    renamed, ignored = {}, []
    for name, value in tensors.items():
        prefix = next((old for old in RENAMED if name.startswith(old)), None)
        if prefix is None or name.startswith(LEFT_OUT):
            ignored.append(name)
        else:
            renamed[RENAMED[prefix] + name.removeprefix(prefix)] = value
    return renamed, ignored
