"""Every method in two processes: the losses, gradients and buffers of one process on the joined batch.

One pair of processes runs all methods, each for two steps, so that what a method updates once a step is met.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_work import joined
from processes import run_all
from torch import nn

from ivreid.distributed.parallel import data_parallel
from ivreid.distributed.sync_norm import synchronise_norms
from ivreid.methods import METHODS, Method
from ivreid.testing.method_contract import IDENTITIES
from method_batches import small_batch, small_method
from time_limits import seconds

LIMIT = 60 + 60 * len(METHODS)
"""Seconds after which the pair hangs: it runs every method, before the first test."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(seconds(LIMIT + 60))]
CASES: dict[str, dict[str, Any]] = {**{name: {} for name in METHODS}, "baseline+": {"ema_teacher": 1.0}}
"""Options by case; `baseline+` is the baseline with the part that `small` leaves out."""
STEPS = 2
LIKE = 1e-9
"""Double precision, through some twenty layers twice."""


def made(name: str) -> Method:
    return small_method(name.removesuffix("+"), **CASES[name]).double()


def steps(method: Method, model: nn.Module, name: str, share: tuple[int, int]) -> dict[str, Any]:
    """Losses of some steps of plain descent on a share of each batch, then the last gradients and the buffers.

    Args:
        method: The network.
        model: What is called: the network, or what joins it with the other process.
        name: The case's.
        share: Which of how many equal parts of the batch's identities.
    """
    losses = []
    for step in range(STEPS):
        method.begin_epoch(7 * step)  # the first of them may stand in another phase
        whole = small_batch(name.removesuffix("+"), seed=step, options=CASES[name]).double()
        rows = len(whole.labels) // share[1]
        method.zero_grad()
        method.begin_step()
        terms = model(*whole.part(share[0] * rows, (share[0] + 1) * rows))
        sum(terms.values()).backward()
        losses.append({key: term.detach() for key, term in terms.items()})
        with torch.no_grad():
            for parameter in method.parameters():
                if not parameter.requires_grad:
                    continue
                assert parameter.grad is not None
                parameter.sub_(1e-3 * parameter.grad)
    return {
        "losses": losses,
        "gradients": {key: one.grad for key, one in method.named_parameters() if one.requires_grad},
        "buffers": dict(method.named_buffers()),
    }


def in_this_process(folder: str) -> None:
    with joined() as process:
        for name in CASES:
            method = synchronise_norms(made(name), torch.device("cpu"))
            found = steps(method, data_parallel(process, method), name, (process.rank, process.world_size))
            torch.save(found, Path(folder) / f"{name}-{process.rank}.pt")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert IDENTITIES % 2 == 0
    folder = tmp_path_factory.mktemp("pairs")
    run_all(in_this_process, str(folder), limit=LIMIT)
    return folder


@pytest.mark.parametrize("name", sorted(CASES))
def test_two_processes_are_one(pairs: Path, name: str) -> None:
    method = made(name)
    one = steps(method, method, name, (0, 1))
    both = [torch.load(pairs / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]
    for step, whole in enumerate(one["losses"]):
        for term, value in whole.items():
            mean = (both[0]["losses"][step][term] + both[1]["losses"][step][term]) / 2
            torch.testing.assert_close(mean, value, rtol=LIKE, atol=LIKE, msg=f"{term}, step {step + 1}")
    for part in ("gradients", "buffers"):
        for key, value in one[part].items():
            for found in both:
                scale = float(value.abs().max()) if value.numel() else 0.0
                torch.testing.assert_close(
                    found[part][key], value, rtol=0, atol=LIKE * max(1.0, scale), msg=f"{part} of {key}"
                )
