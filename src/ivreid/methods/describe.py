"""What a method costs, measured on its own network."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ivreid.data.settings import BatchSettings
from ivreid.methods import build, get_method
from ivreid.methods.checkpoint_import import image_size


@dataclass(frozen=True)
class Cost:
    """A method's size with its recipe's settings on one dataset.

    Attributes:
        size: Height and width of its images.
        embedding_dim: Numbers of an embedding.
        parameters: Of the network that embeds; what only training needs is left out.
        gmac: 10^9 multiply-adds for one image.
        batch: Images of a training step.
    """

    size: tuple[int, int]
    embedding_dim: int
    parameters: int
    gmac: float
    batch: int


def measure_cost(name: str, dataset: str = "sysu-mm01") -> Cost:
    """Build a method without weights, embed one image, and count.

    Raises:
        UsageError: An unknown method.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    kind = get_method(name)
    recipe = kind.recipe.on(dataset) if kind.recipe else {}
    size = image_size(kind, dataset)
    method = build(name, recipe.get("method", {}), 1, size=size, pretrained=False).eval()
    counter = FlopCounterMode(display=False)
    # attention as plain products: the counter does not know a CPU's fused form
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        method.embed(torch.zeros(1, 3, *size), torch.zeros(1, dtype=torch.bool))
    return Cost(
        size,
        method.embedding_dim,
        sum(p.numel() for key, p in method.named_parameters() if not _training_only(method, key)),
        counter.get_total_flops() / 2e9,
        BatchSettings.model_validate(recipe.get("batch", {})).size,
    )


def _training_only(method: torch.nn.Module, key: str) -> bool:
    return key.startswith(tuple(getattr(method, "training_only", ())))
