"""Which process is which, and what several cannot share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from processes import tree

from ivreid.errors import ConfigError, UsageError
from ivreid.training import make_config
from ivreid.training.distributed import ONE_PROCESS, Place, local_device, place_from_environment
from ivreid.training.setup import check_place


def test_places_come_from_the_environment() -> None:
    assert place_from_environment({}) == ONE_PROCESS
    assert place_from_environment({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}) == ONE_PROCESS
    place = place_from_environment({"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"})
    assert place == Place(5, 8, 1)
    assert (place.leads, place.alone) == (False, False)
    assert Place(0, 8).leads
    for wrong in ({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "2"}, {"WORLD_SIZE": "two"}):
        with pytest.raises(ConfigError, match="torchrun"):
            place_from_environment(wrong)


def test_each_process_of_a_machine_takes_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second_machine = Place(3, 4, local_rank=1)
    assert local_device("auto", second_machine) == torch.device("cuda:1")
    assert local_device("cuda", second_machine) == torch.device("cuda:1")
    assert local_device("cpu", second_machine) == torch.device("cpu")
    assert local_device("cuda:0", ONE_PROCESS) == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="device = cuda:1 cannot serve 4 processes"):
        local_device("cuda:1", second_machine)
    with pytest.raises(UsageError, match=r"2 CUDA device\(s\), .* --nproc-per-node 2"):
        local_device("cuda", Place(2, 3, local_rank=2))


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    config = make_config(tree(tmp_path, tmp_path / "run"))
    check_place(config, Place(0, 4))
    with pytest.raises(
        UsageError, match="3 processes cannot share a batch of 4 identities equally; use 1, 2, 4"
    ):
        check_place(config, Place(0, 3))
    batch = {"identities": 4, "instances": 2, "sampler": "random"}
    loose = make_config(tree(tmp_path, tmp_path / "run", batch=batch))
    check_place(loose, ONE_PROCESS)
    with pytest.raises(ConfigError, match=r"batch\.sampler = random does not fit 2 processes"):
        check_place(loose, Place(0, 2))
