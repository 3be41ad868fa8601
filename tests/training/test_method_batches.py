"""Samplers, views, augmentation by kind and filters of the field's methods, through a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from trees import tiny_tree

import ivreid
from ivreid.config import make_config
from ivreid.data import normalise, to_tensor
from ivreid.methods.iv_reid import IVReID
from ivreid.models import read_weights
from ivreid.training import load_state, train
from ivreid.training.loop import Run


class Stop(Exception):
    pass


def changed(data: Path, out: Path, batch: dict[str, Any]) -> dict[str, Any]:
    tree = tiny_tree(data, out)
    return {
        **tree,
        "epochs": 2,
        "data": {**tree["data"], "resize": "lanczos"},
        "batch": {"identities": 4, "instances": 2, **batch},
        "augment": {
            "padding": 2,
            "channel_erasing": 0.5,
            "channel_stage": "normalized",
            "second": {"channel_exchange": 1.0},
            "infrared": {"channel_exchange": 0.75, "grey": 0.125, "exclusive": True},
            "grey_epochs": 1,
        },
        "checkpoint": {"every_steps": 1},
    }


@pytest.mark.parametrize(
    "batch",
    [
        {"sampler": "uniform", "views": {"visible": 2}},
        {"sampler": "paired", "views": {"visible": 2}},
        {"sampler": "identity", "images": 8},
    ],
    ids=lambda batch: batch["sampler"],
)
def test_stopped_in_the_middle_of_an_epoch_and_resumed_equals_never_stopped(
    tiny: Path, tmp_path: Path, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.Tensor, ...]] = []
    forward = IVReID.forward

    def watched(self: Any, images: Any, labels: Any, infrared: Any, view: Any = None) -> Any:
        seen.append((labels, infrared, view, images.detach().clone()))
        return forward(self, images, labels, infrared, view)

    with monkeypatch.context() as patch:
        patch.setattr(IVReID, "forward", watched)
        straight = train(make_config(changed(tiny, tmp_path / "straight", batch)))
    assert straight.steps == len(seen) > 3
    rows = 4 * (8 if batch["sampler"] == "identity" else 6)
    for labels, infrared, view, images in seen:
        assert len(labels) == rows
        assert len(labels.unique()) == 4
        assert set(view.tolist()) == ({0, 1} if "views" in batch else {0})
        # equal channels after normalisation: always for a second view, never for a first, whose grey is raw
        flat = (images == images[:, :1]).flatten(1).all(1)
        assert flat[view == 1].all() and not flat[(view == 0) & ~infrared].any()

    real = Run.step

    def stopping(self: Any, *args: Any) -> None:
        if self.position.step == straight.steps - 1:
            raise Stop
        real(self, *args)

    config = make_config(changed(tiny, tmp_path / "stopped", batch))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", stopping)
        with pytest.raises(Stop):
            train(config)
    train(config, resume=True)
    one, other = (
        load_state(tmp_path / n / "checkpoints" / "last.safetensors") for n in ("straight", "stopped")
    )
    assert one.info["position"] == other.info["position"]
    for name, value in one.tensors.items():
        assert torch.equal(value, other.tensors[name]), name


def test_the_filter_travels_with_the_weights(tiny: Path, tmp_path: Path) -> None:
    folder = train(make_config({**changed(tiny, tmp_path / "run", {}), "epochs": 1})).folder
    _, card = read_weights(folder / "weights.safetensors")
    assert card["preprocessing"]["resize"] == "lanczos"
    file = tiny / "cam1" / "0013" / "0001.jpg"
    model = ivreid.load(folder, device="cpu", workers=0)
    with Image.open(file) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((16, 32), Image.Resampling.LANCZOS))
    ready = model.embed([pixels], "visible")
    torch.testing.assert_close(torch.from_numpy(model.embed([file], "visible")), torch.from_numpy(ready))
    from ivreid.methods import restore

    method, _ = restore(folder / "weights.safetensors")
    x = normalise(to_tensor(pixels[None].copy()), card["preprocessing"]["mean"], card["preprocessing"]["std"])
    with torch.no_grad():
        plain = torch.nn.functional.normalize(method.embed(x, torch.tensor([False])))
    torch.testing.assert_close(torch.from_numpy(ready), plain, atol=1e-4, rtol=1e-3)
