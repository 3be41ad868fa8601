"""Every method on the same synthetic people, in the same minutes, and what each part of ours is worth.

    python benchmarks/methods.py [--minutes 2] [--methods baseline,iv-reid] [--seeds 3] [--world default]
    python benchmarks/methods.py --ablation       # the baseline with each part off, one at a time
    python benchmarks/methods.py --ablation "constant rate" "no parts"      # these only
    python benchmarks/methods.py --page-only      # write the page from what is there

Each method is trained by its compact recipe: its own batch, augmentation and losses, and for all the same backbone,
image size, optimiser and schedule (a vision transformer of like cost where the method is one). Steps are in single
precision but for ours, which is in bf16 where the processor has instructions for it; so more of its steps fit. How
many fit into the minutes is measured first. Two worlds: the demo's, and another that no method was tuned on, with
other people, another layout and a wider gap between the modalities; each model is tested on both.

A cell is one method, world and seed. Stopped at any time, the same command goes on in the cell it was in (its run lies
below `--runs`) and does only what is missing. What a cell found lands below `--out`, which is part of the repository, so
that the table grows over days and machines; after each cell `docs/leaderboard.md` is written anew from all that are there.
Run it on a quiet machine: where others delayed the steps that were measured, so that too few were made and the
minutes were not used, the cell is made again.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ivreid.analysis.compare import PER_IDENTITY, per_identity
from ivreid.analysis.merge import merge_results
from ivreid.catalogue import METHODS
from ivreid.config import load_config
from ivreid.evaluation import evaluate_run
from ivreid.io import write_json, write_text
from ivreid.machine import keep_freed_memory
from ivreid.metrics.bootstrap import IdentitySums, Interval, paired_bootstrap
from ivreid.protocols import Result, read_results
from ivreid.protocols.result import SYNTHETIC_MARK
from ivreid.synthetic import DEFAULT_GAP, synthesise
from ivreid.training import read_log, train
from ivreid.training.precision import choose_precision

ROOT = Path(__file__).parents[1]
OURS = "baseline"
MINUTES, SEEDS, ATTEMPTS = 2.0, 3, 3
SEEDS_OF_PARTS = 1
"""Of the ablation: a first look; what may matter is asked for by name, `--ablation PART`, and gets `SEEDS`."""
KEPT = (PER_IDENTITY, SYNTHETIC_MARK)
"""Of what a result says besides its figures: enough for intervals over people, little for the repository."""
FIGURES = {"rank1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}


@dataclass(frozen=True)
class World:
    """Synthetic people, and the protocol setting that a model is tested by on them."""

    layout: str
    people: Mapping[str, Any]
    setting: Mapping[str, Any]

    def drawn(self, folder: Path) -> Path:
        """Where the pictures lie, drawn if need be."""
        synthesise(folder, layout=self.layout, **self.people)
        return folder

    def __str__(self) -> str:
        people = self.people
        return (
            f"{people['identities']} people in {self.layout}'s layout, seed {people['seed']}, gap {people['gap']}; "
            f"tested with {', '.join(f'{key} {value}' for key, value in self.setting.items())}"
        )


WORLDS = {
    "default": World(
        "sysu-mm01",
        {"identities": 150, "images": 12, "size": (128, 64), "seed": 1, "gap": DEFAULT_GAP},
        {"mode": "all", "shots": 1, "draw": "official"},
    ),
    "other": World(
        "llcm",
        {"identities": 150, "images": 4, "size": (128, 64), "seed": 77, "gap": 0.85},
        {"direction": "infrared-to-visible"},
    ),
}

PARTS = {
    "AGW's published softmax": ["method.triplet=published"],
    "batch-hard triplet": ["method.triplet=hard"],
    "no triplet loss": ["method.triplet_weight=0"],
    "triplet loss of full weight": ["method.triplet_weight=1"],
    "no label smoothing": ["method.smoothing=0"],
    "average pooling": ["method.pooling=avg"],
    "no parts": ["method.parts=0"],
    "no channel exchange": ["augment.visible.channel_exchange=0"],
    "channels exchanged after normalisation": ["augment.channel_stage=normalized"],
    "single precision": ["precision=fp32"],
    "no tone curves": ["augment.tone=0"],
    "no averaged weights": ["ema=null"],
    "constant rate": ["schedule.name=constant"],
    "two views, the second without colours": ["batch.views.visible=2", "augment.visible.channel_exchange=0"],
    "two views, a slow copy teaches the second": [
        "batch.views.visible=2",
        "augment.visible.channel_exchange=0",
        "method.ema_teacher=1",
    ],
    "erasing (added)": ["augment.erasing=0.5"],
    "jitter (added)": ["augment.visible.jitter=0.5", "augment.infrared.jitter=0.5"],
    "two stems (added)": ["method.stems=two"],
    "distances relative to the batch's (added)": ["method.relative=true"],
}
"""What is changed in the baseline, one at a time."""


@dataclass(frozen=True)
class Cell:
    """One model: trained for some minutes on one world from one seed, and tested on every world."""

    method: str
    world: str
    seed: int
    minutes: float
    part: str = ""
    changes: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        part = re.sub(r"[^a-z0-9]+", "-", self.part.lower()).strip("-")
        return f"{self.method}--{part}" if part else self.method

    def folder(self, out: Path) -> Path:
        return (
            out
            / slug(processor())
            / f"{self.minutes:g}-minutes"
            / self.world
            / self.name
            / f"seed-{self.seed}"
        )


def processor() -> str:
    """The kind of processor that figures were made on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        model = " ".join(found[1].split()) if found else model
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def used(minutes: float, seconds: float) -> bool:
    """Whether a training took its minutes; it did not where its steps were counted while others delayed them."""
    return seconds >= 60 * minutes


def make(cell: Cell, out: Path, runs: Path) -> bool:
    """Train and test one cell, or what is missing of it. `cell.json`, written last, says that it is whole.

    Returns:
        Whether the minutes were used; otherwise nothing is kept.
    """
    keep_freed_memory()
    folder, world = cell.folder(out), WORLDS[cell.world]
    run = cell.folder(runs)
    roots = {name: one.drawn(runs / "worlds" / name) for name, one in WORLDS.items()}
    config = load_config(
        None,
        [
            *(("data.dataset", world.layout), ("data.root", str(roots[cell.world])), ("out", str(run))),
            *(("seed", cell.seed), ("device", "cpu"), ("evaluation", [dict(world.setting)])),
            *(("validation", {"select": "last", "every": 10**6}), ("checkpoint", {"every_minutes": 1})),
            *cell.changes,
        ],
        recipe=f"{cell.method}-compact",
    )
    started, resumed = time.monotonic(), run.is_dir()
    summary = train(config, minutes=cell.minutes, resume=resumed, notice=lambda line: print(f"  {line}"))
    trained = time.monotonic() - started
    if not resumed and not used(cell.minutes, trained):
        print(
            f"  all done after {trained:.0f} s: something else took the processor while a step was measured"
        )
        shutil.rmtree(run)
        return False
    for name, other in WORLDS.items():
        results = evaluate_run(
            run / "weights.safetensors",
            data_root=roots[name],
            dataset=other.layout,
            settings=[dict(other.setting)],
            device="cpu",
        )
        folder.mkdir(parents=True, exist_ok=True)
        (result,) = results
        kept = replace(result, extra={key: result.extra[key] for key in KEPT if key in result.extra})
        write_text(folder / f"on-{name}.json", json.dumps([kept.to_json()]) + "\n")
    rows = [row for row in read_log(run / "metrics.jsonl") if row["kind"] == "step"]
    shutil.rmtree(run / "checkpoints")
    write_json(
        folder / "cell.json",
        {
            **asdict(cell),
            "processor": processor(),
            "backbone": config.method["backbone"],
            "precision": choose_precision(config.precision, torch.device("cpu")),
            "batch": config.batch.size,
            "steps": summary.steps,
            "images_per_second": float(np.median([row["images_per_second"] for row in rows])),
            "seconds": trained,
        },
    )
    return True


def in_a_process(cell: Cell, out: Path, runs: Path) -> None:
    """Each cell in a process of its own, which inherits nothing from the one before."""
    for _ in range(ATTEMPTS):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            if pool.submit(make, cell, out, runs).result():
                return
    raise SystemExit("this machine is too busy to say how many steps fit into some minutes")


@dataclass(frozen=True)
class Made:
    """A finished cell: what it says of itself, and its results by the world tested on."""

    says: Mapping[str, Any]
    results: Mapping[str, Result]


def finished(out: Path) -> list[Made]:
    """Every finished cell below a folder."""
    found = []
    for file in sorted(out.glob("*/*/*/*/*/cell.json")):
        results = {name: read_results(file.parent / f"on-{name}.json")[0] for name in WORLDS}
        found.append(Made(json.loads(file.read_text()), results))
    return found


def people(made: Sequence[Made], world: str) -> IdentitySums | None:
    """Outcomes by person, the mean over seeds."""
    tables = [per_identity(one.results[world]) for one in made]
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(tables):
        return None
    first = known[0]
    sums = {name: np.mean([table.sums[name] for table in known], axis=0) for name in first.sums}
    return IdentitySums(first.pids, first.counts, sums)


def against(made: Sequence[Made], ours: Sequence[Made], world: str) -> Interval | None:
    """How far mAP lies above ours, over the same people and the same seeds."""
    seeds = {one.says["seed"] for one in made} & {one.says["seed"] for one in ours}
    first, second = (
        people([one for one in group if one.says["seed"] in seeds], world) for group in (ours, made)
    )
    if first is None or second is None or not np.array_equal(first.pids, second.pids):
        return None
    return paired_bootstrap(first, second, rng=np.random.default_rng(0))["mAP"]


def figures(made: Sequence[Made], world: str) -> list[str]:
    """Mean and spread over seeds of each figure, in percent."""
    merged = merge_results({f"seed {one.says['seed']}": one.results[world] for one in made})
    spread = merged.std if len(made) > 1 else dict.fromkeys(FIGURES)
    return [
        f"{100 * merged.mean[name]:.1f}" + ("" if spread[name] is None else f" ± {100 * spread[name]:.1f}")
        for name in FIGURES
    ]


def grouped(cells: Sequence[Made], *keys: str) -> dict[Any, list[Made]]:
    groups: dict[Any, list[Made]] = {}
    for one in cells:
        key = tuple(one.says[name] for name in keys)
        groups.setdefault(key[0] if len(keys) == 1 else key, []).append(one)
    return groups


def table(groups: Mapping[str, list[Made]], ours: Sequence[Made], world: str, first: str) -> Iterator[str]:
    """Rows of one world, the best mAP first."""
    yield f"| {first} | {' | '.join(FIGURES.values())} | mAP against `{OURS}` (95%) | seeds | steps | images/s |"
    yield "|---|" + "--:|" * 7
    for name, made in sorted(groups.items(), key=lambda group: -mean_ap(group[1], world)):
        gap = against(made, ours, world) if ours and made is not ours else None
        shown = (
            ""
            if gap is None
            else f"{100 * gap.estimate:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
        )
        steps, speed = (
            round(np.mean([one.says[key] for one in made])) for key in ("steps", "images_per_second")
        )
        cells = [
            f"{name}{mark(made[0])}",
            *figures(made, world),
            shown,
            str(len(made)),
            f"{steps:,}",
            f"{speed:,}",
        ]
        yield f"| {' | '.join(cells)} |"


def mark(one: Made) -> str:
    """What of its backbone and number format is not as with the others, in brackets."""
    backbone, precision = one.says["backbone"], one.says.get("precision", "fp32")
    own = [] if backbone.startswith("resnet") else [backbone]
    own += [] if precision == "fp32" else [precision]
    return f" ({', '.join(own)})" if own else ""


def mean_ap(made: Sequence[Made], world: str) -> float:
    return float(np.mean([one.results[world].mean["mAP"] for one in made]))


def across(methods: Mapping[str, Mapping[str, list[Made]]]) -> Iterator[str]:
    """Trained on one world and tested on the other."""
    pairs = [(one, other) for one in WORLDS for other in WORLDS if one != other]
    heads = [f"{one} to {other}: {figure}" for one, other in pairs for figure in ("Rank-1", "mAP")]
    yield f"| method | {' | '.join(heads)} |"
    yield "|---|" + "--:|" * len(heads)
    for name, trained_on in methods.items():
        cells = [name]
        for one, other in pairs:
            cells += figures(trained_on[one], other)[:2] if one in trained_on else ["-", "-"]
        yield f"| {' | '.join(cells)} |"


def page(cells: Sequence[Made], wanted: Sequence[Cell]) -> str:
    """`docs/leaderboard.md`, of the finished cells alone."""
    lines = [
        "# Leaderboard",
        "",
        "Written by `python benchmarks/methods.py`, whose text says what is the same for all methods. Synthetic people, a small network",
        "from random weights, minutes of two cores: what a laptop can measure. **These figures say nothing about real data**, and little",
        "about methods that need ImageNet weights or a night. Percent, mean ± standard deviation over seeds; the intervals are over people,",
        "for both methods the same (as `ivreid compare` makes them). Loss weights and changes of images of `iv-reid` (the demo's) and of",
        "`baseline` were chosen on the world `default`, `baseline`'s on a third one too (llcm's layout, seed 5, gap 0.85), as were its stripes",
        "and its number format, nothing on `other`;",
        "those of all others are as published. All are tested plain: mirror images, with which `caj`, `caj-plus`, `deen` and `dns` were",
        "published, are left out for all. All are trained in single precision but where (bf16) is said: the baseline on processors with",
        "instructions for it, since the minutes are what is equal.",
        "",
        *(f"- World `{name}`: {world}." for name, world in WORLDS.items()),
    ]
    if not cells:
        lines += ["", "No cell is finished yet."]
    for (kind, minutes), here in grouped(cells, "processor", "minutes").items():
        lines += ["", f"## {number_of_minutes(minutes)} on {kind}"]
        plain = [one for one in here if not one.says["part"]]
        for world, of_world in grouped(plain, "world").items():
            methods = grouped(of_world, "method")
            lines += ["", f"### Trained and tested on `{world}`", ""]
            lines += table(methods, methods.get(OURS, ()), world, "method")
        if plain:
            by_method = {name: grouped(made, "world") for name, made in grouped(plain, "method").items()}
            lines += ["", "### Trained on one world, tested on the other", "", *across(by_method)]
        for world, of_world in grouped([one for one in here if one.says["part"]], "world").items():
            ours = [one for one in plain if one.says["method"] == OURS and one.says["world"] == world]
            parts = {**({OURS: ours} if ours else {}), **grouped(of_world, "part")}
            lines += ["", f"### The baseline with one part changed, on `{world}`", ""]
            lines += [
                "The difference is over the same seeds as the row's. Of one seed it is a hint: the baseline's own seeds spread as its",
                "row says, and the best of many rows looks better than it is. Rows of three seeds were looked at again.",
                "",
                *table(parts, ours, world, "change"),
            ]
    missing = missing_cells(cells, wanted)
    if missing:
        lines += ["", "## Missing", "", "Not finished yet; the same command makes them:", "", *missing]
    return "\n".join(lines) + "\n"


def number_of_minutes(minutes: float) -> str:
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def missing_cells(cells: Sequence[Made], wanted: Sequence[Cell]) -> list[str]:
    """A line for each method and world that lacks seeds asked for on this processor."""
    keys = ("method", "world", "seed", "minutes", "part", "processor")
    there = {tuple(one.says[key] for key in keys) for one in cells}
    lacking: dict[str, set[int]] = {}
    for cell in wanted:
        if (cell.method, cell.world, cell.seed, cell.minutes, cell.part, processor()) not in there:
            what = f"`{cell.method}`{f' ({cell.part})' if cell.part else ''} on `{cell.world}`, {number_of_minutes(cell.minutes)}"
            lacking.setdefault(what, set()).add(cell.seed)
    return [f"- {what}: seeds {', '.join(map(str, sorted(seeds)))}" for what, seeds in lacking.items()]


def plan(
    methods: Sequence[str],
    worlds: Sequence[str],
    seeds: int,
    minutes: float,
    *,
    ablation: Sequence[str] | None = None,
) -> list[Cell]:
    """Cells seed by seed, so that an interrupted benchmark has a whole table early; ours first, to compare with."""
    if ablation is not None:
        return [
            Cell(OURS, worlds[0], seed, minutes, part, PARTS.get(part, ()))
            for seed in range(seeds)
            for part in ("", *(ablation or PARTS))
        ]
    ordered = sorted(methods, key=lambda name: name != OURS)
    return [
        Cell(method, world, seed, minutes) for seed in range(seeds) for world in worlds for method in ordered
    ]


def leaderboard() -> list[Cell]:
    """What the page shall hold."""
    whole = plan(list(METHODS), list(WORLDS), SEEDS, MINUTES)
    return whole + plan([OURS], list(WORLDS), SEEDS_OF_PARTS, MINUTES, ablation=())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training steps for each cell")
    parser.add_argument("--methods", help="names with commas between; all where not given")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0")
    parser.add_argument("--world", choices=tuple(WORLDS), help="trained on this one only")
    parser.add_argument(
        "--ablation",
        nargs="*",
        metavar="PART",
        choices=tuple(PARTS),
        help="the baseline with each part changed, or with these only",
    )
    parser.add_argument("--page-only", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "leaderboard", help="results")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "leaderboard", help="what trains")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "leaderboard.md")
    options = parser.parse_args()
    methods = options.methods.split(",") if options.methods else list(METHODS)
    for name in methods:
        if name not in METHODS:
            parser.error(METHODS.unknown(name))
    worlds = [options.world] if options.world else list(WORLDS)
    asked = plan(methods, worlds, options.seeds, options.minutes, ablation=options.ablation)
    for number, cell in enumerate(asked, start=1):
        if options.page_only or (cell.folder(options.out) / "cell.json").exists():
            continue
        print(f"{number} of {len(asked)}: {cell.name} on {cell.world}, seed {cell.seed}", flush=True)
        in_a_process(cell, options.out, options.runs)
        write_text(options.page, page(finished(options.out), [*leaderboard(), *asked]))
    write_text(options.page, page(finished(options.out), [*leaderboard(), *asked]))
    print(options.page)


if __name__ == "__main__":
    main()
