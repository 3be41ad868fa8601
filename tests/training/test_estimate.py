"""How long drawing and training will take: measured on a few people, multiplied by what is true of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.config import Config, load_config
from ivreid.machine import available_cores
from ivreid.synthetic import picture_identities, synthesise
from ivreid.training import estimate as module
from ivreid.training.estimate import Estimate, estimate_run
from ivreid.training.setup import build_run_parts


def config(tmp_path: Path, layout: str = "sysu-mm01") -> Config:
    return load_config(
        "demo",
        [
            f"data={{dataset: {layout}, root: {tmp_path / 'people'}, size: [32, 16], cache: false, "
            "synthetic: {identities: 40, images: 6, size: [32, 16], seed: 5}}",
            "batch={identities: 3, instances: 2}",
            "epochs=4",
            "evaluation=[]",
            f"out={tmp_path / 'run'}",
        ],
    )


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb"])
def test_steps_and_times_are_those_of_the_whole(tmp_path: Path, monkeypatch, layout: str) -> None:
    whole = config(tmp_path, layout)
    monkeypatch.setattr(module, "quick_measure", lambda *_: 2.0)
    found = estimate_run(whole)
    assert found is not None and not (tmp_path / "people").exists() and not (tmp_path / "run").exists()
    assert found.drawing > 0
    made = synthesise(
        whole.data.root, layout=layout, identities=40, images=6, size=(32, 16), seed=5, workers=1
    )
    pids, infrared = picture_identities(layout, 40, 6, 5)
    assert len(pids) == made.images and set(pids) == set(range(1, 41)) and 0 < sum(infrared) < len(infrared)
    parts = build_run_parts(whole)
    steps = sum(parts.loader.batches_in(epoch) for epoch in range(whole.epochs))
    assert found.steps == pytest.approx(steps, rel=0.25)
    assert found.training is not None and found.training > 2.0 * found.steps
    there = estimate_run(whole)
    assert there is not None and there.drawing == 0 and "drawing" not in str(there)


def test_drawing_is_shared_by_the_cores(tmp_path: Path, monkeypatch) -> None:
    from dataclasses import replace

    def timed(*words, **named):
        return replace(synthesise(*words, **named), seconds=10.0)

    monkeypatch.setattr(module, "quick_measure", lambda *_: None)
    monkeypatch.setattr(module, "synthesise", timed)
    whole = config(tmp_path)
    few = len(picture_identities("sysu-mm01", 10, 1, 5)[0])  # three times the people of a batch, and even
    found = estimate_run(whole)
    pictures = len(picture_identities("sysu-mm01", 40, 6, 5)[0])
    assert found is not None and found.drawing == pytest.approx(10.0 / few * pictures / available_cores())
    assert found.training is None and "then training" in str(found)


def test_nobody_is_drawn_nothing_is_estimated(tmp_path: Path) -> None:
    whole = config(tmp_path)
    assert (
        estimate_run(whole.model_copy(update={"data": whole.data.model_copy(update={"synthetic": None})}))
        is None
    )


def test_it_is_said_in_words() -> None:
    words = str(Estimate(97.0, 700.0, 1_320))
    assert words.startswith(
        "about 13 min on this machine as it is now: 2 min drawing, 12 min training (1,320 steps)"
    )
