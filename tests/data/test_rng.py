from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivreid.data import counter_rng as rng

MASK = (1 << 64) - 1


def mix_by_hand(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), st.integers(1, 6))
def test_bits_follow_splitmix64_in_whole_numbers(parts: list[int], count: int) -> None:
    state = 0
    for part in parts:
        state = mix_by_hand(((state ^ (part & MASK)) + 0x9E3779B97F4A7C15) & MASK)
    expected = [mix_by_hand((state + n * 0x9E3779B97F4A7C15) & MASK) for n in range(1, count + 1)]
    assert rng.bits(rng.keys(*parts), count)[0].tolist() == expected


def test_the_published_first_outputs_of_splitmix64_at_seed_zero() -> None:
    zero = np.zeros(1, dtype=np.uint64)
    assert [hex(int(x)) for x in rng.bits(zero, 2)[0]] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_a_key_is_the_same_alone_and_among_others() -> None:
    together = rng.keys(7, 3, np.arange(50), 0)
    assert together.tolist() == [int(rng.keys(7, 3, i, 0)[0]) for i in range(50)]
    assert rng.keys(1, 2) != rng.keys(2, 1)
    assert len({int(rng.keys(a, b, c)[0]) for a in range(12) for b in range(12) for c in range(12)}) == 12**3


def test_uniforms_are_uniform_across_keys_and_counters() -> None:
    u = rng.uniforms(rng.keys(5, np.arange(20_000)), 4)
    assert ((u >= 0) & (u < 1)).all()
    for sample in (*u.T, u[:5000].ravel()):
        counts, _ = np.histogram(sample, bins=20, range=(0, 1))
        expected = len(sample) / 20
        assert ((counts - expected) ** 2 / expected).sum() < 60  # chi-square with 19 degrees: p ~ 4e-6
    assert abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.04


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_permutations_hold_everything_once(count: int) -> None:
    assert sorted(rng.permutation(rng.keys(1), count).tolist()) == list(range(count))


def test_all_orders_of_three_come_equally_often() -> None:
    orders = [tuple(rng.permutation(rng.keys(9, i), 3).tolist()) for i in range(6000)]
    counts = np.unique([f"{o}" for o in orders], return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 40


def test_choices_stay_in_range_and_repeat() -> None:
    draws = rng.choices(rng.keys(2), 3, 600)
    assert set(draws.tolist()) == {0, 1, 2}
