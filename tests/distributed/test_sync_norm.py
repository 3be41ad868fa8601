"""Batch norm over two processes with unequal shares equals torch's own over all rows."""

from __future__ import annotations

import copy

import pytest
import torch
from distributed_work import Norms, norm_input, norm_steps, norms
from processes import run_all
from torch import nn

from ivreid.distributed.sync_norm import SyncedNorm, synchronise_norms
from ivreid.inference import fold_batch_norms

CPU = torch.device("cpu")


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    rows = [slice(0, 2), slice(2, 7)]
    run_all(norms, str(tmp_path), rows)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    expected = norm_steps(Norms(), slice(None), 1)
    for key in ("outputs", "inputs"):
        joined = torch.cat([one[key] for one in found])
        torch.testing.assert_close(joined, expected[key], atol=1e-10, rtol=1e-10)
    assert len(expected["buffers"]) == 9
    for one in found:
        for key in ("gradients", "buffers"):
            assert one[key].keys() == expected[key].keys()
            for name, value in expected[key].items():
                torch.testing.assert_close(one[key][name], value, atol=1e-9, rtol=1e-10, msg=name)


def test_only_training_changes():
    network = Norms().eval()
    synced = synchronise_norms(copy.deepcopy(network), CPU)
    assert network.state_dict().keys() == synced.state_dict().keys()
    assert sum(isinstance(module, SyncedNorm) for module in synced.modules()) == 4
    assert synchronise_norms(synced, CPU) is synced  # twice is once
    x, _ = norm_input(0)
    network.untracked, synced.untracked = nn.Identity(), nn.Identity()
    assert torch.equal(synced(x), network(x))
    again = copy.deepcopy(synced)
    assert isinstance(again.first, SyncedNorm)
    assert fold_batch_norms(again) == 2
    torch.testing.assert_close(again(x), network(x))
