"""A batch that a method cannot train on is found before the first step, with the setting to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivreid.config import Config
from ivreid.data import TrainLoader
from ivreid.data.sampler import make_sampler
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import ConfigError
from ivreid.methods import get_method
from ivreid.methods.iv_reid import IVReID
from ivreid.training import setup, train
from ivreid.training.batch_checks import check_batch, check_every_batch

Make = Callable[..., Config]


@pytest.mark.parametrize(
    ("batch", "processes", "message"),
    [
        (
            {"identities": 1, "instances": 4},
            1,
            r"identities = 1: iv-reid compares people and needs 2 or more",
        ),
        ({"identities": 1, "instances": 1}, 1, r"set batch\.identities=2 or more"),
        ({"identities": 2, "instances": 1}, 2, r"make 1 image of each modality in each of 2 processes"),
        (
            {"identities": 4, "instances": 1},
            4,
            r"too few for iv-reid, which needs 2; .*or start fewer processes",
        ),
        ({"identities": 2, "instances": 1, "sampler": "uniform"}, 2, r"make 1 image of each modality"),
        (
            {"identities": 2, "images": 1, "sampler": "identity"},
            1,
            r"identities = 2 and batch\.images = 1 make 1 image of each modality",
        ),
    ],
)
def test_what_the_sizes_alone_say_is_told_before_any_data_is_read(
    tiny_config: Make,
    monkeypatch: pytest.MonkeyPatch,
    batch: dict[str, Any],
    processes: int,
    message: str,
) -> None:
    whole = {"identities": 8, "instances": 4, "sampler": "balanced", **batch}
    config = tiny_config(batch=whole)
    with pytest.raises(ConfigError, match=message):
        check_batch(config, ProcessRank(0, processes) if processes > 1 else SINGLE_PROCESS)
    if processes == 1:
        monkeypatch.setattr(setup, "prepare_dataset", None)  # it is not reached
        with pytest.raises(ConfigError, match=message):
            train(config)


@pytest.mark.parametrize(
    ("batch", "processes"),
    [
        ({"identities": 2, "instances": 1}, 1),
        ({"identities": 2, "instances": 2}, 2),
        (
            {"identities": 2, "instances": 1, "sampler": "uniform", "views": {"visible": 2, "infrared": 2}},
            2,
        ),
    ],
)
def test_the_smallest_batches_that_fit_pass(tiny_config: Make, batch: dict[str, Any], processes: int) -> None:
    check_batch(tiny_config(batch=batch), ProcessRank(0, processes) if processes > 1 else SINGLE_PROCESS)


def test_a_method_says_itself_what_it_needs(tiny_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(batch={"identities": 1, "instances": 1})
    monkeypatch.setattr(IVReID, "min_identities", 1)
    monkeypatch.setattr(IVReID, "means_by_modality", False)
    check_batch(config, SINGLE_PROCESS)
    monkeypatch.setattr(IVReID, "min_rows", 3)
    with pytest.raises(ConfigError, match="too few for iv-reid, which needs"):
        check_batch(config, SINGLE_PROCESS)


def test_phases_of_method_and_loader_end_together(tiny_config: Make) -> None:
    pmt = {"name": "pmt", **get_method("pmt").small, "grey_epochs": 3}
    check_batch(tiny_config(method=pmt, augment={"grey_epochs": 3}), SINGLE_PROCESS)
    with pytest.raises(
        ConfigError,
        match=r"grey_epochs is 3 and augment\.grey_epochs is 0: .* set augment\.grey_epochs=3, or",
    ):
        check_batch(tiny_config(method=pmt), SINGLE_PROCESS)


@pytest.mark.parametrize("sampler", ["random", "identity"])
def test_the_first_short_batch_of_a_run_is_named_before_the_first_step(
    tiny_config: Make, tiny: Path, sampler: str
) -> None:
    """8 identities, 8 visible and 4 infrared images each, batches of 4: some batch of many epochs is short."""
    batch = {"sampler": sampler, "identities": 2, "instances": 1}
    config = tiny_config(epochs=30, batch=batch)
    parts = setup.build_run_parts(tiny_config(epochs=1, batch={"identities": 4, "instances": 2}))
    plans = make_sampler(parts.data.labels, parts.data.infrared, config.batch, config.seed)
    short = [
        (epoch, number, int(parts.data.infrared[rows].sum()))
        for epoch in range(30)
        for number, rows in enumerate(plans.batches(epoch))
        if not 2 <= sum(parts.data.infrared[row] for row in rows) <= 2
    ]
    epoch, number, infrared = short[0]
    steps: list[Any] = []
    with pytest.raises(ConfigError) as caught:
        train(config, progress=lambda *done: steps.append(done))
    assert steps == []
    said = str(caught.value)
    assert (
        f"batch {number + 1} of epoch {epoch + 1} would hold {infrared} infrared and {4 - infrared} " in said
    )
    assert "set batch.sampler=balanced" in said


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"sampler": "identity"}, r"batch\.sampler is identity; set it to paired or balanced"),
        ({"sampler": "paired", "views": {"visible": 2}}, r"are 2 of a visible and 1 of an infrared image"),
    ],
)
def test_batches_without_pairs_are_refused_where_a_method_needs_them(
    tiny_config: Make, batch: dict[str, Any], message: str
) -> None:
    idkl = {"name": "idkl", "pretrained": None}
    check_batch(tiny_config(method=idkl, batch={"sampler": "balanced"}), SINGLE_PROCESS)
    with pytest.raises(ConfigError, match=message):
        check_batch(tiny_config(method=idkl, batch=batch), SINGLE_PROCESS)


def test_candidates_are_counted_over_all_processes(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MCJA compares the modalities of the whole batch, whatever each process holds of them."""
    mcja = {"name": "mcja", "pretrained": None}
    monkeypatch.setattr(setup, "prepare_dataset", None)  # it is not reached
    for batch in (
        {"sampler": "balanced", "identities": 3, "instances": 1},
        {"sampler": "identity", "identities": 2, "images": 3},
    ):
        with pytest.raises(
            ConfigError, match=r"make 3 images of each modality, too few for mcja, which needs 4; raise"
        ):
            train(tiny_config(method=mcja, batch=batch))
    fits = tiny_config(method=mcja, batch={"sampler": "identity", "identities": 4, "images": 2})
    for process in (SINGLE_PROCESS, ProcessRank(1, 2), ProcessRank(3, 4)):
        check_batch(fits, process)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_batch_short_of_candidates_is_named(tiny_config: Make, processes: int) -> None:
    """8 identities of 8 visible and 4 infrared images, batches of 8: of few epochs one has 3 infrared ones."""
    batch = {"sampler": "identity", "identities": 4, "images": 2}
    config = tiny_config(epochs=10, batch=batch)
    data = setup.build_run_parts(tiny_config(epochs=1, batch={"identities": 4, "instances": 2})).data
    plans = make_sampler(data.labels, data.infrared, config.batch, config.seed)
    counts = [
        (epoch + 1, number, int(infrared))
        for epoch in range(10)
        for number, infrared in enumerate(data.infrared[plans.joined(epoch)].sum(axis=1), start=1)
    ]
    epoch, number, infrared = next(one for one in counts if not 4 <= one[2] <= 4)
    mcja = config.model_copy(update={"method": {"name": "mcja"}})
    for rank in range(processes):
        loader = TrainLoader(data, config.batch, config.augment, config.seed, rank=rank, world_size=processes)
        with pytest.raises(
            ConfigError,
            match=f"batch {number} of epoch {epoch} would hold {infrared} infrared .* mcja needs 4",
        ):
            check_every_batch(mcja, loader)


def test_a_run_without_a_short_batch_passes(tiny_config: Make) -> None:
    """Batches of 32 of 96 images, 32 of them infrared: the chance of a short one is below 1e-4 in all."""
    config = tiny_config(epochs=2, batch={"sampler": "random", "identities": 8, "instances": 2})
    parts = setup.build_run_parts(config)
    shares = [parts.data.infrared[parts.loader.sampler.plan(epoch).indices].sum(axis=1) for epoch in range(2)]
    assert np.concatenate(shares).min() >= 2
