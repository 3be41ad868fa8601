"""Every method stopped in the middle of an epoch, with what it changes by itself once a step or once an epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from trees import tiny_tree

from ivreid.config import make_config
from ivreid.methods import METHODS, get_method
from ivreid.training import load_state, train
from ivreid.training.loop import Run

pytestmark = pytest.mark.slow

WITH_CHANCE: dict[str, dict[str, float]] = {
    **{name: {"dropout": 0.5} for name in ("deen", "dns", "idkl")},
    "pmt": {"drop": 0.1, "drop_path": 0.1},
    "baseline": {"ema_teacher": 1.0},
}
"""Options that draw numbers in the network, or move a slow copy, which the methods' small settings leave out."""


class Stop(Exception):
    pass


def accumulating(data: Path, out: Path, name: str) -> dict[str, Any]:
    """Two epochs, two batches to a step."""
    kind, tree, options = get_method(name), tiny_tree(data, out), WITH_CHANCE.get(name, {})
    return {
        **tree,
        "epochs": 2,
        "accumulate": 2,
        "data": {**tree["data"], "size": list(kind.small_size)},
        "augment": {"padding": 2, "grey_epochs": kind.small.get("grey_epochs", 0)},
        "batch": {"identities": 4, "instances": 2, "views": {"visible": kind.views_with(options)}},
        "method": {**kind.small, **options, "name": name},
        "validation": {"select": "last", "every": 2},
        "checkpoint": {"every_steps": 1},
    }


@pytest.mark.parametrize("name", sorted(METHODS))
def test_stopped_in_the_middle_of_an_epoch_and_resumed_equals_never_stopped(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    kind = get_method(name)
    with monkeypatch.context() as patch:
        for event in ("begin_epoch", "begin_step", "forward"):
            real = getattr(kind, event)

            def listening(self: Any, *args: Any, _real: Any = real, _event: str = event) -> Any:
                heard.append(_event)
                return _real(self, *args)

            patch.setattr(kind, event, listening)
        straight = train(make_config(accumulating(tiny, tmp_path / "straight", name)))
    said = "".join({"begin_epoch": "E", "begin_step": "S", "forward": "f"}[event] for event in heard)
    assert re.fullmatch(r"E?(ES(ffS)*ff?){2}", said)  # once a step; an epoch's last has what is left
    assert said.count("S") == straight.steps > 3

    take_step = Run.step

    def stopping(self: Any, *args: Any) -> None:
        if self.position.step == straight.steps - 1:
            raise Stop
        take_step(self, *args)

    config = make_config(accumulating(tiny, tmp_path / "stopped", name))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", stopping)
        with pytest.raises(Stop):
            train(config)
    train(config, resume=True)
    one, other = (
        load_state(tmp_path / run / "checkpoints" / "last.safetensors") for run in ("straight", "stopped")
    )
    assert one.info["position"] == other.info["position"]
    assert one.tensors.keys() == other.tensors.keys()
    for key, value in one.tensors.items():
        assert torch.equal(value, other.tensors[key]), key
