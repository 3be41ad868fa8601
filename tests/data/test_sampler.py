from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivreid.data import BatchSettings, CrossModalityBatchSampler, RandomBatchSampler, make_sampler
from ivreid.errors import DataError, TrainingError, UsageError

Counts = list[tuple[int, int]]  # (infrared, visible) images of each identity


def table(counts: Counts, shuffle: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rows = [(100 + 7 * i, ir) for i, (r, v) in enumerate(counts) for ir in [True] * r + [False] * v]
    rows = [rows[i] for i in np.random.default_rng(shuffle).permutation(len(rows))]
    return np.array([pid for pid, _ in rows]), np.array([ir for _, ir in rows])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Counts, int, int]:
    wanted = draw(st.integers(1, 5))
    size = draw(st.integers(1, 4))
    pair = st.tuples(st.integers(1, 14), st.integers(1, 14))
    return draw(st.lists(pair, min_size=wanted, max_size=12)), wanted, size


@settings(max_examples=80, deadline=None)
@given(cases(), st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_an_epoch_is_what_the_specification_says(
    case: tuple[Counts, int, int], seed: int, epoch: int
) -> None:
    counts, wanted, size = case
    labels, infrared = table(counts, seed % 5)
    batches = CrossModalityBatchSampler(
        labels, infrared, BatchSettings(identities=wanted, instances=size), seed
    ).batches(epoch)

    groups_used: Counter[int] = Counter()
    infrared_used: dict[int, list[int]] = {}
    visible_used: dict[int, list[list[int]]] = {}
    for batch in batches:
        assert len(batch) == 2 * wanted * size
        people = [labels[batch[i : i + 2 * size]] for i in range(0, len(batch), 2 * size)]
        assert all(len(set(p)) == 1 for p in people)
        pids = [int(p[0]) for p in people]
        assert len(set(pids)) == wanted, "an identity stands once in a batch"
        for i, pid in enumerate(pids):
            group = batch[2 * size * i : 2 * size * (i + 1)]
            assert infrared[group].tolist() == [True] * size + [False] * size
            groups_used[pid] += 1
            infrared_used.setdefault(pid, []).extend(group[:size])
            visible_used.setdefault(pid, []).append(group[size:])

    left = 0
    for i, (n_infrared, n_visible) in enumerate(counts):
        pid = 100 + 7 * i
        available = max(n_infrared // size, 1)
        assert groups_used[pid] <= available
        left += groups_used[pid] < available
        if n_infrared >= size:
            used = infrared_used.get(pid, [])
            assert len(set(used)) == len(used), "each infrared image at most once an epoch"
        if n_visible >= size:
            assert all(len(set(group)) == size for group in visible_used.get(pid, []))
            repeats = Counter(image for group in visible_used.get(pid, []) for image in group)
            walks = -(-groups_used[pid] // (n_visible // size))
            assert max(repeats.values(), default=0) <= walks, "a shuffled walk visits an image once"
    assert left < wanted, "an epoch goes on while enough identities have a group left"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 50), st.sampled_from([1, 2, 4, 8]))
def test_processes_share_each_batch_by_identity(seed: int, epoch: int, world: int) -> None:
    labels, infrared = table([(5 + i % 7, 3 + i % 5) for i in range(20)])
    batch = BatchSettings()
    whole = CrossModalityBatchSampler(labels, infrared, batch, seed).plan(epoch)
    shares = [
        CrossModalityBatchSampler(labels, infrared, batch, seed, rank=r, world_size=world).plan(epoch)
        for r in range(world)
    ]
    assert {len(share) for share in shares} == {len(whole)}
    assert np.array_equal(np.concatenate([s.indices for s in shares], axis=1), whole.indices)
    assert np.array_equal(np.concatenate([s.occurrences for s in shares], axis=1), whole.occurrences)
    for number in range(len(whole)):
        people = [set(labels[s.indices[number]].tolist()) for s in shares]
        assert sum(map(len, people)) == len(set().union(*people)) == 8, "no identity is split"


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    labels, infrared = table([(9, 9)] * 10)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return CrossModalityBatchSampler(labels, infrared, BatchSettings(), seed).batches(epoch)

    sampler = CrossModalityBatchSampler(labels, infrared, BatchSettings(), 3)
    sampler.batches(11)
    assert sampler.batches(4) == batches(3, 4)
    assert batches(3, 4) != batches(3, 5)
    assert batches(3, 4) != batches(4, 4)


def test_a_plan_never_changes_between_versions() -> None:
    """A resumed run must meet the order it left: these numbers are a promise, whatever NumPy does."""
    labels = [1] * 5 + [2] * 5 + [3] * 4
    infrared = [i in (0, 1, 5, 6, 7, 10, 11) for i in range(14)]
    plan = CrossModalityBatchSampler(labels, infrared, BatchSettings(identities=2, instances=2), 2019).plan(1)
    assert plan.indices.tolist() == [[5, 6, 9, 8, 1, 0, 4, 2]]


def test_leftover_infrared_images_change_from_epoch_to_epoch() -> None:
    labels, infrared = table([(6, 4)] * 8)
    sampler = CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0)
    used: set[int] = set()
    for epoch in range(12):
        plan = sampler.batches(epoch)
        assert len(plan) == 1  # six images make one group of four
        used |= set(plan[0])
    assert used == set(range(len(labels)))


def test_identities_are_drawn_evenly() -> None:
    labels, infrared = table([(4, 4)] * 10)
    seen = Counter(
        pid
        for seed in range(500)
        for pid in labels[
            CrossModalityBatchSampler(labels, infrared, BatchSettings(), seed).batches(0)[0][::8]
        ]
    )
    assert min(seen.values()) > 350 and max(seen.values()) < 450  # 400 expected of each


def test_small_identities_are_sampled_with_replacement() -> None:
    labels, infrared = table([(1, 2)] * 8)
    (batch,) = CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0).batches(0)
    plan = CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0).plan(0)
    for i in range(0, 64, 8):
        assert len(set(batch[i : i + 4])) == 1
        assert sorted(plan.occurrences[0, i : i + 4].tolist()) == [0, 1, 2, 3]


def test_occurrences_count_earlier_appearances() -> None:
    labels, infrared = table([(12, 5)] * 9)
    plan = CrossModalityBatchSampler(labels, infrared, BatchSettings(), 1).plan(0)
    seen: Counter[int] = Counter()
    for index, occurrence in zip(
        plan.indices.ravel().tolist(), plan.occurrences.ravel().tolist(), strict=True
    ):
        assert occurrence == seen[index]
        seen[index] += 1
    assert max(seen.values()) > 1, "five visible images cannot fill three groups without repeats"


def test_one_modality_is_refused_by_name() -> None:
    labels, infrared = table([(4, 4)] * 8 + [(3, 0), (0, 3), (0, 2)])
    with pytest.raises(DataError, match=r"1 without any infrared|2 without any infrared") as error:
        CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0)
    assert "2 without any infrared image (163, 170)" in str(error.value)
    assert "1 without any visible image (156)" in str(error.value)


def test_too_few_identities_say_how_many_and_what_helps() -> None:
    labels, infrared = table([(4, 4)] * 5)
    with pytest.raises(
        TrainingError, match=r"needs 8 identities, but there are only 5.*batch\.identities to 5"
    ):
        CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0)


def test_a_world_that_does_not_divide_the_batch_is_refused() -> None:
    labels, infrared = table([(4, 4)] * 8)
    with pytest.raises(UsageError, match=r"3 processes cannot share a batch of 8 identities.*1, 2, 4, 8"):
        CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0, rank=0, world_size=3)
    with pytest.raises(UsageError, match="rank 2"):
        CrossModalityBatchSampler(labels, infrared, BatchSettings(), 0, rank=2, world_size=2)


def test_unequal_columns_are_refused() -> None:
    with pytest.raises(DataError, match="one value per image"):
        CrossModalityBatchSampler([1, 2], [True], BatchSettings(), 0)


@given(st.integers(8, 100), st.integers(0, 99), st.sampled_from([1, 2, 4]))
def test_random_batches_visit_each_image_at_most_once(count: int, epoch: int, world: int) -> None:
    shares = [RandomBatchSampler(count, 8, 1, rank=r, world_size=world).batches(epoch) for r in range(world)]
    joined = [index for share in shares for batch in share for index in batch]
    assert len(joined) == len(set(joined)) == count // 8 * 8
    assert set(joined) <= set(range(count))
    assert {len(batch) for share in shares for batch in share} == {8 // world}


def test_random_sampler_by_name_and_its_limits() -> None:
    labels, infrared = table([(40, 40)])
    sampler = make_sampler(labels, infrared, BatchSettings(sampler="random"), 0)
    assert [len(b) for b in sampler.batches(0)] == [64]
    with pytest.raises(TrainingError, match="needs 64 images, but there are only 10"):
        make_sampler(labels[:10], infrared[:10], BatchSettings(sampler="random"), 0)
    with pytest.raises(UsageError, match="batch of 64 images"):
        make_sampler(labels, infrared, BatchSettings(sampler="random"), 0, world_size=5)
