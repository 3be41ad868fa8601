"""What a run says of how far it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ivreid.config import Config
from ivreid.training import train
from ivreid.training.setup import build_run_parts


@pytest.mark.parametrize("accumulate", [1, 2])
def test_epochs_that_differ_in_length_are_one_count_up_to_the_true_total(
    tiny_config: Callable[..., Config], accumulate: int
) -> None:
    config = tiny_config(epochs=6, accumulate=accumulate, validation={"select": "last"}, seed=4)
    lengths = [build_run_parts(config).loader.batches_in(epoch) for epoch in range(6)]
    assert len(set(lengths)) > 1  # or this shows nothing
    steps = sum(-(-length // accumulate) for length in lengths)
    told: list[tuple[int, int]] = []
    summary = train(config, progress=lambda *done: told.append(done))
    assert summary.steps == steps
    assert [done for done, _ in told] == list(range(1, steps + 1))
    assert told[-1] == (steps, steps)
    assert all(total > done for done, total in told[:-1])
