"""The benchmark of all methods, on tiny worlds: cells that resume and land by themselves, and the page."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ivreid.errors import IvreidError
from ivreid.metrics.bootstrap import IdentitySums
from ivreid.training import run as training_run
from ivreid.training.loop import Run

FILE = Path(__file__).parents[2] / "benchmarks" / "methods.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module, with cells made in this process on a few small people."""
    spec = importlib.util.spec_from_file_location("methods_benchmark", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    small = {"identities": 24, "images": 2, "size": (32, 16), "workers": 1}
    worlds = {
        name: module.World(world.layout, {**world.people, **small}, world.setting)
        for name, world in module.WORLDS.items()
    }
    monkeypatch.setattr(module, "WORLDS", worlds)
    monkeypatch.setattr(module, "in_a_process", module.make)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(training_run, "measure_step", lambda *_: 60 / 3.5)  # three steps a minute
    monkeypatch.setattr(module, "used", lambda minutes, seconds: True)  # they take less than that
    return module


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> str:
    page = tmp_path / "page.md"
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "methods.py",
            "--out",
            str(tmp_path / "out"),
            "--runs",
            str(tmp_path / "runs"),
            "--page",
            str(page),
            "--minutes",
            "1",
            *words,
        ],
    )
    module.main()
    return page.read_text()


@pytest.mark.slow
def test_a_cell_whose_minutes_were_not_used_leaves_nothing(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, bool]] = []

    def used(minutes: float, seconds: float) -> bool:
        asked.append((minutes, seconds > 0))
        return False

    monkeypatch.setattr(benchmark, "used", used)
    cell = benchmark.Cell("baseline", "default", 0, 1.0)
    assert benchmark.make(cell, tmp_path / "out", tmp_path / "runs") is False
    assert asked == [(1.0, True)]
    assert not cell.folder(tmp_path / "runs").exists() and not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert [benchmark.used(2.0, seconds) for seconds in (119.9, 120.0, 131.0)] == [False, True, True]


@pytest.mark.slow
def test_cells_are_made_once_and_an_interrupted_one_goes_on(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--methods", "baseline,iv-reid", "--seeds", "1", "--world", "default")
    real, tested = benchmark.evaluate_run, []

    def interrupted(*args: Any, **options: Any) -> Any:
        tested.append(options["dataset"])
        if len(tested) == 3:  # the second cell is trained, its first test begins
            raise IvreidError("killed")
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "evaluate_run", interrupted)
        with pytest.raises(IvreidError, match="killed"):
            run(benchmark, monkeypatch, tmp_path, *words)
    half = (tmp_path / "page.md").read_text()
    assert "\n| baseline" in half and "- `iv-reid` on `default`, 1 minute: seeds 0" in half

    trained: list[str] = []
    real_step = Run.step

    def counting(self: Any, *args: Any) -> None:
        trained.append(self.parts.network.name)
        real_step(self, *args)

    monkeypatch.setattr(Run, "step", counting)
    whole = run(benchmark, monkeypatch, tmp_path, *words)
    assert trained == []  # its three steps were taken before
    assert "1 minute:" not in whole  # nothing of what was asked for is missing
    assert "- `agw` on `other`, 2 minutes: seeds 0, 1, 2" in whole  # but of the page's own plan
    assert "### Trained and tested on `default`" in whole
    assert "default to other: mAP" in whole
    rows = [
        line.split("|")[1:-1] for line in whole.splitlines() if line.startswith(("| baseline", "| iv-reid"))
    ]
    assert len(rows) == 4
    assert [row[6].strip() for row in rows[:2]] == ["3", "3"]  # steps
    made = [one.says for one in benchmark.finished(tmp_path / "out")]
    assert {one["method"] for one in made} == {"baseline", "iv-reid"}
    assert all(one["steps"] == 3 and one["images_per_second"] > 0 for one in made)
    assert not list((tmp_path / "runs").rglob("checkpoints"))
    assert {file.name for file in (tmp_path / "out").rglob("*.*")} == {
        "cell.json",
        *(f"on-{name}.json" for name in benchmark.WORLDS),
    }
    assert run(benchmark, monkeypatch, tmp_path, *words) == whole
    assert trained == []

    part = run(benchmark, monkeypatch, tmp_path, "--ablation", "--seeds", "1", "--page-only")
    assert "`baseline` (no triplet loss) on `default`, 1 minute: seeds 0" in part
    some = run(benchmark, monkeypatch, tmp_path, "--ablation", "no parts", "--seeds", "1", "--page-only")
    assert "(no parts) on `default`, 1 minute: seeds 0" in some
    assert "(no triplet loss) on `default`, 1 minute" not in some
    with pytest.raises(SystemExit):
        run(benchmark, monkeypatch, tmp_path, "--ablation", "no such part", "--page-only")
    # figures of another processor stand in a table of their own
    file = next((tmp_path / "out").rglob("cell.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "processor": "another one"}))
    both = run(benchmark, monkeypatch, tmp_path, *words, "--page-only")
    assert "## 1 minute on another one" in both and both.count("### Trained and tested on `default`") == 2
    assert "## Missing" in both


def test_every_part_of_the_ablation_is_a_setting_of_the_baseline(benchmark: ModuleType) -> None:
    from ivreid.config import load_config

    plain = load_config(None, [], recipe="baseline-compact")
    for part, changes in benchmark.PARTS.items():
        assert load_config(None, changes, recipe="baseline-compact") != plain, part
    names = {benchmark.Cell("baseline", "default", 0, 2, part).name for part in benchmark.PARTS}
    assert len(names) == len(benchmark.PARTS)


def test_the_interval_is_paired_over_people_and_seeds(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pids, counts = np.arange(40), np.full(40, 5.0)
    base = rng.uniform(0, 5, (3, 40))

    def made(sums: np.ndarray, seeds: range) -> list[Any]:
        tables = [IdentitySums(pids, counts, {"mAP": row}) for row in sums]
        return [benchmark.Made({"seed": s}, {"w": t}) for s, t in zip(seeds, tables, strict=True)]

    monkeypatch.setattr(benchmark, "per_identity", lambda table: table)
    ours = made(base, range(3))
    better = made(base[:2] + 0.5, range(2))  # everybody by a tenth of a query; the third seed is missing
    gap = benchmark.against(better, ours, "w")
    assert gap.estimate == pytest.approx(0.1)
    assert (gap.low, gap.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert benchmark.against(ours, ours, "w").estimate == 0
