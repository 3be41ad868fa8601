"""A configuration for pictures of one's own, ready to train with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import yaml

from ivreid.errors import ImageError
from ivreid.io import read_image

SIZES = ((96, 48), (128, 64), (192, 96), (256, 128), (384, 128))
"""Heights and widths; the published ones last."""
FEW = 40
"""People below which a batch of eight identities would repeat the same ones."""


_PUBLISHED = """\
epochs: 60
method: {name: iv-reid, pretrained: imagenet}
schedule: {name: cosine, warmup: 5}
"""
_SCRATCH = """\
epochs: 60
# No ImageNet weights to start from: a small network, a high rate that falls, and the other losses light.
method:
  name: iv-reid
  backbone: resnet10t
  pretrained: null
  classifier_bias: false
  modality_weight: 0.1
  mutual_weight: 0.1
  triplet_weight: 0.1
optimizer: {name: adamw, lr: 0.003, weight_decay: 0.01}
schedule: {name: cosine, warmup: 1}
"""


def configuration_text(table: Path, people: int, some: Sequence[Path], *, scratch: bool = False) -> str:
    """The text of a configuration, with a line on what one may want to change.

    Args:
        table: The table to train on.
        people: How many people it holds.
        some: Some of its pictures, which say what size is enough.
        scratch: Whether to start without ImageNet weights, with a network that a CPU can train.
    """
    height, width = _size(some)
    identities = 8 if people >= FEW else 4
    root = yaml.safe_dump(str(table.resolve()), allow_unicode=True, width=1 << 16).partition("\n")[0]
    out = yaml.safe_dump(f"runs/{table.stem}", allow_unicode=True, width=1 << 16).partition("\n")[0]
    return f"""\
# {people} people of one's own, listed in {table.name}. Train, test and look:
#   ivreid train {_shown(table)}
# `ivreid config keys` says what every key means.
out: {out}
data:
  dataset: csv
  root: {root}
  size: [{height}, {width}]
  test_fraction: 0.3      # of the people, where the table has no column `split`
batch: {{identities: {identities}, instances: 4}}
{_SCRATCH if scratch else _PUBLISHED}validation: {{every: 5, fraction: 0.2}}
evaluation:
  - {{direction: infrared-to-visible}}
  - {{direction: visible-to-infrared}}
"""


def _shown(table: Path) -> str:
    name = table.with_suffix(".yaml").name
    return name if " " not in name else f"'{name}'"


def _size(some: Sequence[Path]) -> tuple[int, int]:
    """The smallest of the usual sizes that loses nothing of most pictures."""
    heights = []
    for path in some:
        try:
            heights.append(read_image(path, "image").height)
        except ImageError:  # `ivreid data check` names it
            continue
    tall = median(heights) if heights else SIZES[-1][0]
    return next((size for size in SIZES if size[0] >= tall), SIZES[-1])
