"""Torchvision's files for the CNNs that timm has under other names: the tensors are the same, one to one.

Both libraries define these networks layer by layer in the same order; torchvision numbers the layers and timm
names them. So the tensors are matched by their place in the network, and shapes and kinds must agree all the
way: a network that differs anywhere gives no match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

CLASSIFIERS = ("fc.", "classifier.", "head.", "last_linear.", "AuxLogits.")
COUNTER = "num_batches_tracked"
EPSILON = {"mobilenetv3_": 1e-3, "efficientnetv2_": 1e-3, **{f"efficientnet_b{n}": 1e-3 for n in (5, 6, 7)}}
"""Torchvision's batch norm constant, by the beginning of timm's name, where timm has another one."""

_DENSE = re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.")
"""How torchvision's DenseNet files spell `norm1`."""
_LEAVES = ("layer_scale", "weight", "bias", "running_mean", "running_var")
_ORDER = {"se": "b~", "fc": "~", "classifier": "~"}
"""Words out of alphabetical order: a block's squeeze comes before its last convolution, a classifier last."""


def from_torchvision(tensors: Mapping[str, Tensor], net: nn.Module, name: str) -> dict[str, Tensor] | None:
    """A torchvision file's tensors under the names of timm's network, without the classifier.

    Where the libraries' batch norm constants differ, the running variances take up the difference, so that
    the network computes what torchvision's does.

    Args:
        tensors: What the file holds, in any order.
        net: timm's network without its classifier.
        name: timm's name of it.

    Returns:
        Tensors for `net`, or None where the file is of another network.
    """
    renamed = {_DENSE.sub(r"\1\2.", key): value for key, value in tensors.items()}
    if renamed.keys() != tensors.keys():
        return renamed
    source = sorted((key for key in tensors if not key.endswith(COUNTER)), key=_place)
    own = {key: value for key, value in net.state_dict().items() if not key.endswith(COUNTER)}
    if len(source) < len(own) or not all(key.startswith(CLASSIFIERS) for key in source[len(own) :]):
        return None
    found = {}
    for theirs, (ours, like) in zip(source, own.items(), strict=False):
        if not _alike(theirs, ours, tensors[theirs], like):
            return None
        found[ours] = tensors[theirs].reshape(like.shape)
    wanted = next((eps for start, eps in EPSILON.items() if name.startswith(start)), None)
    for path, module in net.named_modules():
        if wanted is not None and isinstance(module, nn.BatchNorm2d):
            found[f"{path}.running_var"] = found[f"{path}.running_var"] + (wanted - module.eps)
    return found


def _alike(theirs: str, ours: str, value: Tensor, like: Tensor) -> bool:
    """Whether two tensors are of one kind: the same word, and the same numbers in the same order."""
    words = theirs.rpartition(".")[2], ours.rpartition(".")[2]
    if words[0] != words[1] and words != ("layer_scale", "gamma"):
        return False
    sides = [tuple(side for side in one.shape if side > 1) for one in (value, like)]
    # a fully connected layer may be a convolution of its input's size
    flat = value.ndim == 2 and like.ndim == 4 and value.shape == (like.shape[0], like[0].numel())
    return sides[0] == sides[1] or flat


def _place(name: str) -> list[tuple[int, int, str]]:
    """Where a tensor stands in torchvision's network: numbers count, and a layer's own tensors come first."""
    *layers, leaf = name.split(".")
    place: list[tuple[int, int, str]] = []
    for word in layers:
        for piece in filter(None, re.split(r"(\d+)", _ORDER.get(word, word))):
            place.append((1, int(piece), "") if piece.isdecimal() and piece.isascii() else (2, 0, piece))
    return [*place, (0, _LEAVES.index(leaf) if leaf in _LEAVES else len(_LEAVES), leaf)]
