"""The samplers of the field's methods, and views: what an epoch holds, whatever the processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_sampler import Counts, cases, table

from ivreid.data import BatchSettings, make_sampler
from ivreid.errors import DataError, TrainingError, UsageError


def people(batch: list[int], labels: np.ndarray, width: int) -> list[tuple[int, list[int]]]:
    """The batch's runs of `width` images: (identity, images)."""
    runs = [batch[i : i + width] for i in range(0, len(batch), width)]
    for run in runs:
        assert len(set(labels[run].tolist())) == 1
    assert len({int(labels[run[0]]) for run in runs}) == len(runs), "an identity stands once in a batch"
    return [(int(labels[run[0]]), run) for run in runs]


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 2**31 - 1), st.integers(0, 99), st.booleans())
def test_uniform_draws_every_batch_for_itself(
    case: tuple[Counts, int, int], seed: int, epoch: int, replacement: bool
) -> None:
    counts, wanted, size = case
    labels, infrared = table(counts, seed % 5)
    options = BatchSettings(sampler="uniform", identities=wanted, instances=size, replacement=replacement)
    batches = make_sampler(labels, infrared, options, seed).batches(epoch)
    assert len(batches) == max(infrared.sum(), (~infrared).sum()) // (wanted * size) + 1
    for batch in batches:
        assert len(batch) == 2 * wanted * size
        for pid, run in people(batch, labels, 2 * size):
            assert infrared[run].tolist() == [True] * size + [False] * size
            for side, have in zip((run[:size], run[size:]), counts[(pid - 100) // 7], strict=True):
                if not replacement and have >= size:
                    assert len(set(side)) == size


@pytest.mark.parametrize("replacement", [True, False])
def test_uniform_draws_identities_and_images_evenly(replacement: bool) -> None:
    labels, infrared = table([(6, 9)] * 10)
    options = BatchSettings(sampler="uniform", identities=4, instances=3, replacement=replacement)
    sampler = make_sampler(labels, infrared, options, 0)
    drawn = [image for epoch in range(250) for batch in sampler.batches(epoch) for image in batch]
    batches = len(drawn) // 24
    assert batches == 250 * 8  # floor(90 / 12) + 1
    identities = Counter(labels[drawn[::6]].tolist())
    assert len(identities) == 10
    assert all(abs(n / batches - 0.4) < 0.05 for n in identities.values())
    images = Counter(drawn)
    for image in range(len(labels)):
        expected = batches * 0.4 * 3 / (6 if infrared[image] else 9)
        assert abs(images[image] - expected) < 6 * np.sqrt(expected)


def test_modalities_of_a_uniform_batch_are_drawn_independently() -> None:
    labels, infrared = table([(4, 4)] * 4)
    options = BatchSettings(sampler="uniform", identities=1, instances=1)
    sampler = make_sampler(labels, infrared, options, 1)
    pairs = Counter(tuple(batch) for epoch in range(200) for batch in sampler.batches(epoch))
    assert len(pairs) == 4 * 16  # every infrared image of an identity met each of its visible ones


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_paired_shows_as_many_images_of_both_modalities(
    case: tuple[Counts, int, int], seed: int, epoch: int
) -> None:
    counts, wanted, size = case
    labels, infrared = table(counts, seed % 5)
    options = BatchSettings(sampler="paired", identities=wanted, instances=size)
    batches = make_sampler(labels, infrared, options, seed).batches(epoch)
    groups: Counter[int] = Counter()
    used: dict[int, list[int]] = {}
    for batch in batches:
        for pid, run in people(batch, labels, 2 * size):
            assert infrared[run].tolist() == [True] * size + [False] * size
            groups[pid] += 1
            used.setdefault(pid, []).extend(run)
    left = 0
    for i, (n_infrared, n_visible) in enumerate(counts):
        pid, smaller = 100 + 7 * i, min(n_infrared, n_visible)
        available = max(smaller // size, 1)
        assert groups[pid] <= available
        left += groups[pid] < available
        if smaller >= size:
            assert len(set(used.get(pid, []))) == len(used.get(pid, [])), "each image at most once an epoch"
    assert left < wanted, "an epoch goes on while enough identities have a group left"


@settings(max_examples=50, deadline=None)
@given(cases(), st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_identity_takes_images_whatever_their_modality(
    case: tuple[Counts, int, int], seed: int, epoch: int
) -> None:
    counts, wanted, images = case
    labels, infrared = table(counts, seed % 5)
    options = BatchSettings(sampler="identity", identities=wanted, images=images)
    assert options.size == wanted * images
    groups: Counter[int] = Counter()
    used: dict[int, list[int]] = {}
    for batch in make_sampler(labels, infrared, options, seed).batches(epoch):
        assert len(batch) == options.size
        for pid, run in people(batch, labels, images):
            groups[pid] += 1
            used.setdefault(pid, []).extend(run)
    left = 0
    for i, have in enumerate(map(sum, counts)):
        pid = 100 + 7 * i
        available = max(have // images, 1)
        left += groups[pid] < available
        if have >= images:
            assert len(set(used.get(pid, []))) == len(used.get(pid, []))
            assert groups[pid] <= available
    assert left < wanted


def test_identity_batches_mix_modalities_and_need_not_both() -> None:
    labels, infrared = table([(8, 8), (12, 4), (0, 16), (16, 0)])
    sampler = make_sampler(labels, infrared, BatchSettings(sampler="identity", identities=2, images=8), 0)
    shares = {
        (pid, int(infrared[run].sum()))
        for epoch in range(20)
        for batch in sampler.batches(epoch)
        for pid, run in people(batch, labels, 8)
    }
    assert {share for pid, share in shares if pid == 114} == {0}
    assert {share for pid, share in shares if pid == 121} == {8}
    assert len({share for pid, share in shares if pid == 100}) > 3


SAMPLERS = pytest.mark.parametrize("name", ["balanced", "uniform", "paired", "identity"])


@SAMPLERS
@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_each_batch_by_identity(name: str, world: int) -> None:
    labels, infrared = table([(5 + i % 7, 3 + i % 5) for i in range(20)])
    views = {} if name == "identity" else {"views": {"visible": 2}}
    options = BatchSettings(sampler=name, **views)
    whole = make_sampler(labels, infrared, options, 3).plan(5)
    shares = [
        make_sampler(labels, infrared, options, 3, rank=r, world_size=world).plan(5) for r in range(world)
    ]
    assert whole.indices.shape[1] == options.size
    for field in ("indices", "occurrences"):
        joined = np.concatenate([getattr(share, field) for share in shares], axis=1)
        assert np.array_equal(joined, getattr(whole, field))
    assert np.array_equal(np.concatenate([share.views for share in shares]), whole.views)
    for number in range(len(whole)):
        ids = [set(labels[share.indices[number]].tolist()) for share in shares]
        assert sum(map(len, ids)) == len(set().union(*ids)) == 8, "no identity is split"


@SAMPLERS
def test_the_order_depends_on_seed_and_epoch_alone(name: str) -> None:
    labels, infrared = table([(9, 9)] * 10)

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return make_sampler(labels, infrared, BatchSettings(sampler=name), seed).batches(epoch)

    sampler = make_sampler(labels, infrared, BatchSettings(sampler=name), 3)
    sampler.batches(11)
    assert sampler.batches(4) == batches(3, 4)
    assert batches(3, 4) != batches(3, 5)
    assert batches(3, 4) != batches(4, 4)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("uniform", [0, 0, 2, 2, 11, 10, 13, 13]),
        ("paired", [5, 6, 9, 8, 1, 0, 4, 2]),
        ("identity", [7, 5, 8, 9, 4, 0, 2, 3]),
    ],
)
def test_a_plan_never_changes_between_versions(name: str, first: list[int]) -> None:
    """A resumed run must meet the order it left: these numbers are a promise, whatever NumPy does."""
    labels = [1] * 5 + [2] * 5 + [3] * 4
    infrared = [i in (0, 1, 5, 6, 7, 10, 11) for i in range(14)]
    options = BatchSettings(sampler=name, identities=2, instances=2)
    assert make_sampler(labels, infrared, options, 2019).batches(1)[0] == first


@pytest.mark.parametrize("name", ["balanced", "uniform", "paired"])
@pytest.mark.parametrize("views", [(2, 1), (3, 2)])
def test_views_repeat_a_slots_images_in_their_order(name: str, views: tuple[int, int]) -> None:
    labels, infrared = table([(6, 7)] * 5)
    size, wanted = 3, 2
    options = {"sampler": name, "identities": wanted, "instances": size}
    once = make_sampler(labels, infrared, BatchSettings(**options), 8).plan(2)
    assert not once.views.any()
    more = BatchSettings(**options, views={"visible": views[0], "infrared": views[1]})
    assert more.size == wanted * size * sum(views)
    plan = make_sampler(labels, infrared, more, 8).plan(2)
    assert len(plan) == len(once)
    width = size * sum(views)
    for field in ("indices", "occurrences"):
        for batch, plain in zip(getattr(plan, field), getattr(once, field), strict=True):
            expected = []
            for slot in range(wanted):
                r, v = np.split(plain[slot * 2 * size : (slot + 1) * 2 * size], 2)
                expected += [*r.tolist() * views[1], *v.tolist() * views[0]]
            assert batch.tolist() == expected
    one = [view for count in (views[1], views[0]) for view in range(count) for _ in range(size)]
    assert plan.views.tolist() == one * wanted
    assert plan.indices.shape[1] == wanted * width


@pytest.mark.parametrize("name", ["uniform", "paired", "identity"])
def test_too_few_identities_say_how_many_and_what_helps(name: str) -> None:
    labels, infrared = table([(4, 4)] * 5)
    with pytest.raises(TrainingError, match=r"only 5 to train on; lower batch\.identities to 5"):
        make_sampler(labels, infrared, BatchSettings(sampler=name), 0)
    with pytest.raises(UsageError, match="3 processes cannot share a batch of 8 identities"):
        make_sampler(labels, infrared, BatchSettings(sampler=name), 0, world_size=3)


@pytest.mark.parametrize("name", ["uniform", "paired"])
def test_one_modality_is_refused_by_name(name: str) -> None:
    labels, infrared = table([(4, 4)] * 8 + [(3, 0)])
    with pytest.raises(DataError, match=r"1 without any visible image \(156\)"):
        make_sampler(labels, infrared, BatchSettings(sampler=name), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 8}, "`images` is for the sampler `identity`"),
        ({"sampler": "identity", "views": {"visible": 2}}, "`views` do not fit the sampler `identity`"),
        ({"sampler": "random", "views": {"infrared": 2}}, "`views` do not fit the sampler `random`"),
        ({"views": {"visible": 0}}, "greater than or equal to 1"),
        ({"views": {"thermal": 2}}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BatchSettings(**options)
