"""How long drawing people and training on them will take on this machine, measured on a few of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ivreid.config.schema import Config, SyntheticSection
from ivreid.data.sampler import make_sampler
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.validation import validation_samples
from ivreid.machine import available_cores
from ivreid.synthetic import is_drawn, picture_identities, synthesise
from ivreid.training.setup import build_run_parts
from ivreid.training.start import FORWARD, in_words
from ivreid.training.trial_steps import quick_measure

PEOPLE = 3
"""Times the people of a batch: enough to train and to validate on."""


@dataclass(frozen=True)
class Estimate:
    """What drawing and training will take.

    Attributes:
        drawing: Seconds; 0 where the pictures are there.
        training: Seconds, validations included; None where steps cannot be tried.
        steps: Steps, within a few of a hundred.
    """

    drawing: float
    training: float | None
    steps: int

    def __str__(self) -> str:
        if self.training is None:
            return f"about {in_words(self.drawing)} of drawing here, then training"
        parts = f"{in_words(self.drawing)} drawing, " if self.drawing else ""
        whole = in_words(self.drawing + self.training)
        return (
            f"about {whole} on this machine as it is now: {parts}{in_words(self.training)} training "
            f"({self.steps:,} steps); evaluation and report come on top"
        )


def estimate_run(config: Config) -> Estimate | None:
    """Draw a few people, train on them for some steps, and multiply; a few seconds in all.

    Args:
        config: A run on drawn people.

    Returns:
        None where the configuration draws nobody.

    Raises:
        IvreidError: A configuration that could not be trained either.
    """
    people, root = config.data.synthetic, config.data.root
    if people is None or root is None:
        return None
    with TemporaryDirectory(prefix="ivreid-estimate-") as folder:
        few = min(people.identities, 2 * -(-PEOPLE * config.batch.identities // 2))
        made = synthesise(
            Path(folder, "people"),
            layout=config.data.dataset,
            identities=few,
            images=1,
            size=people.size,
            seed=people.seed,
            workers=1,
        )
        data = config.data.model_copy(update={"root": made.root, "synthetic": None, "cache": False})
        tried = config.model_copy(update={"data": data})
        parts = build_run_parts(tried, initial_weights=False)
        second = quick_measure(tried, parts, RunFolder(Path(folder, "run")))
        trained = parts.data.num_classes / few
        held = len(validation_samples(tried, parts.dataset)) / made.images
    pids, infrared = picture_identities(config.data.dataset, people.identities, people.images, people.seed)
    drawing = 0.0 if is_drawn(root) else made.seconds / made.images * len(pids) / available_cores()
    batches = _batches(config, people, trained, np.array(pids), np.array(infrared))
    steps = config.steps or config.epochs * -(-batches // config.accumulate)
    if second is None:
        return Estimate(drawing, None, steps)
    epochs = steps * config.accumulate // max(1, batches)
    validations = max(1, sum(map(config.validation.is_due, range(1, epochs + 1))))
    embedded = validations * held * len(pids) * second / (config.batch.size * config.accumulate) * FORWARD
    return Estimate(drawing, steps * second + embedded, steps)


def _batches(
    config: Config, people: SyntheticSection, share: float, pids: np.ndarray, infrared: np.ndarray
) -> int:
    """Batches of an epoch, were the first people those that are trained on."""
    ours = pids <= round(share * people.identities)
    return len(make_sampler(pids[ours] - 1, infrared[ours], config.batch, config.seed).plan(0))
