"""Which process is which, and what several cannot share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from processes import tree

from ivreid.config import make_config
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank, local_device, process_from_environment
from ivreid.errors import ConfigError, UsageError
from ivreid.methods.iv_reid import IVReID
from ivreid.training.batch_checks import check_processes


def test_places_come_from_the_environment() -> None:
    assert process_from_environment({}) == SINGLE_PROCESS
    assert process_from_environment({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}) == SINGLE_PROCESS
    process = process_from_environment({"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"})
    assert process == ProcessRank(5, 8, 1)
    assert (process.is_main, process.is_single) == (False, False)
    assert ProcessRank(0, 8).is_main
    for wrong in ({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "2"}, {"WORLD_SIZE": "two"}):
        with pytest.raises(ConfigError, match="torchrun"):
            process_from_environment(wrong)


def test_each_process_of_a_machine_takes_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second_machine = ProcessRank(3, 4, local_rank=1)
    assert local_device("auto", second_machine) == torch.device("cuda:1")
    assert local_device("cuda", second_machine) == torch.device("cuda:1")
    assert local_device("cpu", second_machine) == torch.device("cpu")
    assert local_device("cuda:0", SINGLE_PROCESS) == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="device = cuda:1 cannot serve 4 processes"):
        local_device("cuda:1", second_machine)
    with pytest.raises(UsageError, match=r"2 CUDA device\(s\), .* --nproc-per-node 2"):
        local_device("cuda", ProcessRank(2, 3, local_rank=2))


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tree(tmp_path, tmp_path / "run"))
    check_processes(config, ProcessRank(0, 4))
    with pytest.raises(
        UsageError, match="3 processes cannot share a batch of 4 identities equally; use 1, 2, 4"
    ):
        check_processes(config, ProcessRank(0, 3))
    for sampler in ("random", "identity"):  # shares with unequal numbers of each modality
        batch = {"identities": 4, "instances": 2, "sampler": sampler}
        loose = make_config(tree(tmp_path, tmp_path / "run", batch=batch))
        check_processes(loose, SINGLE_PROCESS)
        with pytest.raises(ConfigError, match=rf"batch\.sampler = {sampler} does not fit 2 processes"):
            check_processes(loose, ProcessRank(0, 2))
    monkeypatch.setattr(IVReID, "means_by_modality", False)
    check_processes(loose, ProcessRank(0, 2))
