"""What a method costs, measured on its own network; of this package's methods it is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from ivreid.data.settings import BatchSettings
from ivreid.methods import METHODS, build, get_method
from ivreid.methods.checkpoint_import import image_size

WRITTEN = Path(__file__).with_name("costs.json")
"""What `measure_cost` finds for each method of this package; `python tools/method_costs.py` writes it."""


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


def method_cost(name: str) -> Cost:
    """What a method costs on SYSU-MM01: as written down, or measured where its code is not this package's.

    Raises:
        UsageError: An unknown method.
    """
    written = written_costs() if METHODS.origin(name) is None else {}
    return written[name] if name in written else measure_cost(name)


@cache
def written_costs() -> dict[str, Cost]:
    """The costs that are written down, by method."""
    found = json.loads(WRITTEN.read_text(encoding="utf-8"))
    return {name: Cost(**{**one, "size": tuple(one["size"])}) for name, one in found.items()}


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
