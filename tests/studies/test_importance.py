"""What mattered in a search, on planted problems and against a fit worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ivreid.studies.importance import FEWEST, importance
from ivreid.studies.search_space import Choices, Range

SPACE = {
    "lr": Range(low=1e-5, high=1e-1, log=True),
    "margin": Range(low=0.0, high=1.0),
    "erasing": Choices(choices=(0.0, 0.25, None)),
}


def draws(seed: int, count: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "lr": 10 ** rng.uniform(-5, -1),
            "margin": rng.uniform(),
            "erasing": (0.0, 0.25, None)[rng.integers(3)],
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("key", "score"),
    [
        ("lr", lambda row: -((math.log10(row["lr"]) + 3) ** 2)),
        ("margin", lambda row: math.exp(9 * row["margin"])),
        ("erasing", lambda row: {0.0: 0.1, 0.25: 0.7, None: 0.4}[row["erasing"]]),
    ],
)
def test_the_one_setting_that_matters_is_named(key, score, seed):
    values = draws(seed, 30)
    found = importance(SPACE, values, [score(row) for row in values])
    assert next(iter(found)) == key and found[key] > 0.8
    assert all(share < 0.4 for other, share in found.items() if other != key)
    assert found.keys() == SPACE.keys()


def test_noise_explains_next_to_nothing():
    shares = []
    for seed in range(40):
        values = draws(seed, 12)
        noise = np.random.default_rng(1000 + seed).uniform(size=12)
        shares += importance(SPACE, values, noise.tolist()).values()
    assert np.mean(shares) < 0.12


def test_a_fit_by_hand():
    """Ranks 1 to 8 in two levels, 1-4 (mean 2.5) and 5-8 (mean 6.5): R2 = 32/42, adjusted for two levels."""
    values = [{"c": "low"}] * 4 + [{"c": "high"}] * 4
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 100.0]  # a rank is a rank, however far away
    found = importance({"c": Choices(choices=("low", "high"))}, values, scores)
    assert found["c"] == pytest.approx(1 - (1 - 32 / 42) * 7 / 6)


def test_too_few_equal_or_unvaried_trials_claim_nothing():
    values = draws(0, FEWEST)
    assert importance(SPACE, values[:-1], list(range(FEWEST - 1))) == {}
    assert importance(SPACE, values, [0.5] * FEWEST) == {}
    same = [{**row, "margin": 0.3} for row in values]
    assert importance(SPACE, same, list(range(FEWEST)))["margin"] == 0.0
