"""Which places of two pictures made their embeddings similar.

Gradient times activation (the local form of layer-wise relevance, as in Grad-CAM, Selvaraju et al., ICCV 2017, without
averaging the gradients): with the two embeddings' lengths held fixed, the cosine similarity is differentiated by the last
feature map on the way to an embedding that still has places to tell apart, and each place's share is the sum over channels of gradient times value. Where
what follows the map is linear without a bias, such as average pooling, the shares of a picture add up to the similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ivreid.data import normalise, to_tensor
from ivreid.errors import UsageError
from ivreid.inference.embedder import Embedder
from ivreid.inference.image_inputs import GivenImages
from ivreid.inference.loading import load

Shown = tuple[Image.Image, bool]
"""A picture, and whether it is infrared."""
Maps = tuple[NDArray[np.float64], NDArray[np.float64]]
ENOUGH_PLACES = 8
"""A last map with fewer (a small picture's) says little: the last one with so many is taken."""
CHUNK = 4
"""Pairs computed at a time."""


def explain_pairs(
    path: Path | str, *, device: str = "auto"
) -> Callable[[Sequence[tuple[Shown, Shown]]], list[Maps]]:
    """What `ivreid.write_report` takes as `attention`: the weights are loaded when it is first called.

    Args:
        path: A run folder or a weights file.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    def explain(pairs: Sequence[tuple[Shown, Shown]]) -> list[Maps]:
        return pair_maps(load(path, device=device), pairs)

    return explain


def pair_maps(embedder: Embedder, pairs: Sequence[tuple[Shown, Shown]]) -> list[Maps]:
    """How much each place of two pictures adds to their cosine similarity.

    Args:
        embedder: With a network of its own (not an exported one).
        pairs: Pictures, RGB or grey.

    Returns:
        For each pair a map of either picture, (h, w) float64, negative where a place speaks against the similarity.

    Raises:
        UsageError: The network has no map of places near its end, as a vision transformer has none.
        ImageError: A picture that cannot be used.
    """
    network = getattr(embedder, "network", None)
    if not isinstance(network, nn.Module):
        raise UsageError("an exported model does not show its maps; use the run's weights.safetensors")
    out: list[Maps] = []
    with _frozen(network):
        layer = _last_map(embedder, pairs[0][0]) if pairs else ""
        for start in range(0, len(pairs), CHUNK):
            some = pairs[start : start + CHUNK]
            out += _explain(embedder, layer, some)
    return out


def _explain(embedder: Embedder, layer: str, pairs: Sequence[tuple[Shown, Shown]]) -> Iterator[Maps]:
    embeddings, leaves = [], []
    for side in (0, 1):
        found: list[Tensor] = []

        def cut(module: nn.Module, inputs: Any, output: Tensor, found: list[Tensor] = found) -> Tensor:
            found.append(output.detach().requires_grad_(True))
            return found[-1]

        handle = embedder.network.get_submodule(layer).register_forward_hook(cut)
        try:
            with torch.enable_grad():
                vectors = embedder.network.embed(*_inputs(embedder, [pair[side] for pair in pairs]))
        finally:
            handle.remove()
        embeddings.append(vectors / vectors.detach().norm(dim=1, keepdim=True).clamp_min(1e-12))
        leaves.append(found[-1])
    gradients = torch.autograd.grad((embeddings[0] * embeddings[1]).sum(), leaves)
    maps = [
        (leaf.detach() * gradient).sum(dim=1).double().cpu().numpy()
        for leaf, gradient in zip(leaves, gradients, strict=True)
    ]
    return zip(*maps, strict=True)


def _last_map(embedder: Embedder, picture: Shown) -> str:
    """The name of the last layer that gives a map of places on which the embedding depends."""
    outputs: list[tuple[str, tuple[int, int] | None]] = []
    handles = [
        module.register_forward_hook(
            lambda _, __, out, name=name: outputs.append((name, _places(out, embedder)))
        )
        for name, module in embedder.network.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            embedder.network.embed(*_inputs(embedder, [picture]))
    finally:
        for handle in handles:
            handle.remove()
    half = len(outputs) // 2  # what stands before is a stem, or cuts a picture into patches
    maps = [(name, shape) for name, shape in reversed(outputs[half:]) if shape is not None]
    fine = [name for name, (height, width) in maps if height * width >= ENOUGH_PLACES]
    for name in [*fine, *(name for name, _ in maps)]:
        if _depends(embedder, name, picture):
            return name
    raise UsageError(
        "this network has no map of places near its end, so it cannot be said which region decided"
    )


def _places(output: Any, embedder: Embedder) -> tuple[int, int] | None:
    """Height and width of a map of one picture's places, as many pixels apart in both directions; None for others."""
    if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != 1 or min(output.shape[2:]) < 2:
        return None
    height, width = int(output.shape[2]), int(output.shape[3])
    down, across = embedder.preprocessing.size[0] / height, embedder.preprocessing.size[1] / width
    return (height, width) if 0.6 < down / across < 1.7 and min(down, across) >= 1 else None


def _depends(embedder: Embedder, layer: str, picture: Shown) -> bool:
    try:
        maps = list(_explain(embedder, layer, [(picture, picture)]))
    except RuntimeError:  # the embedding does not depend on what this layer gave last
        return False
    return bool(np.isfinite(maps[0][0]).all() and maps[0][0].any())


def _inputs(embedder: Embedder, pictures: Sequence[Shown]) -> tuple[Tensor, Tensor]:
    how = embedder.preprocessing
    source = GivenImages([image for image, _ in pictures], how.size, how.value_range, how.resize, "rgb")
    pixels = to_tensor(np.stack([source.read(row) for row in range(len(pictures))])).to(embedder.device)
    infrared = torch.tensor([flag for _, flag in pictures], device=embedder.device)
    return normalise(pixels, how.mean, how.std), infrared


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradient reaches a weight within."""
    wanted = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in wanted:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in wanted:
            weight.requires_grad_(True)
