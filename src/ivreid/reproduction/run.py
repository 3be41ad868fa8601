"""One call from a dataset to a comparison with the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ivreid.config import Config, load_config
from ivreid.config.recipes import PUBLISHED
from ivreid.datasets import check_dataset, load_dataset, recognise
from ivreid.distributed.processes import require_one_process
from ivreid.errors import CheckpointError, DataError, UsageError
from ivreid.evaluation import evaluate_run
from ivreid.evaluation.validation import selection_notes
from ivreid.inference import weights_file
from ivreid.io import check_output, file_hash, json_with, write_json
from ivreid.methods import Method, get_method
from ivreid.methods.checkpoint_import import import_checkpoint
from ivreid.models.weights import read_card
from ivreid.reproduction.outcome import Compared, Reproduction
from ivreid.reproduction.published import (
    distinct_settings,
    published_flip,
    published_rows,
    published_splits,
    servable_rows,
    setting_of,
)
from ivreid.reproduction.reasons import OTHER_SPLIT, changed, why_it_may_differ
from ivreid.studies import run_study
from ivreid.training import train
from ivreid.training.environment import describe_environment
from ivreid.types import Notice, ProgressBars, no_progress_bars

REPRODUCTION = json_with("reproductions", "reproduction", "figures", "may_differ")
RUN = "run"
"""The training, in the folder of the reproduction."""


def reproduce(
    name: str,
    data_root: Path | str,
    *,
    checkpoint: Path | str | None = None,
    dataset: str | None = None,
    trial: int | None = None,
    out: Path | str | None = None,
    permutations: Path | str | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    batch_size: int = 64,
    notice: Notice = lambda line: None,
    progress_bars: ProgressBars = no_progress_bars,
) -> Reproduction:
    """Check a dataset, test a checkpoint or train by the published recipe, and compare with what was published.

    Every published row of the dataset is measured under its own protocol: mode, shots, draw or direction, mirror images,
    and where the figures were published re-ranked only, that re-ranking. The same call goes on with an
    interrupted training.

    Args:
        name: The method.
        data_root: The dataset's folder.
        checkpoint: The authors' file, or weights of ours; None trains by the recipe `NAME-published`.
        dataset: Its registry name; None: by the folder's layout.
        trial: RegDB: the split. None: that of a checkpoint's card; where none is said, as in an authors' checkpoint, the
            first of those that figures were published on; a training takes all of those.
        out: A folder for weights, runs and `reproduction.json`; None: reproductions/NAME-DATASET.
        permutations: SYSU-MM01's `rand_perm_cam.mat`, where it does not lie in the dataset.
        overrides: `KEY=VALUE` changes of the training, which are told in `may_differ`.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch of the test.
        notice: Called with a line for people.
        progress_bars: Called with labels; gives a progress callable for each.

    Raises:
        UsageError: An unknown method, or nothing was published on that dataset.
        DataError: A dataset that cannot be used.
        CheckpointError: A checkpoint that cannot be read, or of another method.
        IvreidError: As training and evaluation raise it.
    """
    require_one_process("a reproduction")
    kind = get_method(name)
    dataset = dataset or recognise(data_root)
    published = published_rows(kind, dataset, data_root)
    dataset = published[0].dataset
    if checkpoint is not None and overrides:
        raise UsageError("settings are changed in a training; a checkpoint is tested as it is")
    folder = Path(out) if out is not None else Path("reproductions") / f"{name}-{dataset}"
    file = folder / "reproduction.json"
    check_output(file, REPRODUCTION, inputs=[] if checkpoint is None else [checkpoint])
    with progress_bars("Checking the dataset") as (tick,):
        report = check_dataset(dataset, data_root, progress=tick)
    fatal = [problem for problem in report.problems if problem.fatal]
    if fatal:
        raise DataError(
            f"{report.root} cannot be used as {dataset}: {fatal[0].path}: {fatal[0].message} ({len(fatal)} such; "
            f"`ivreid data check {dataset} ROOT` lists them)"
        )
    data = load_dataset(dataset, data_root, trial=trial)
    published, reservations = servable_rows(published, data, permutations)
    for line in reservations:
        notice(line)
    test = partial(
        evaluate_run,
        data_root=data_root,
        dataset=dataset,
        settings=(settings := distinct_settings(published)),
        permutations=permutations,
        device=device,
        batch_size=batch_size,
    )
    if checkpoint is not None:
        weights, made, says_split = _weights(Path(checkpoint), kind, dataset, folder)
        splits = [] if says_split else published_splits(dataset, published)
        if splits:
            trial = trial or splits[0]
            reservations.append(OTHER_SPLIT.format(trial))
        with progress_bars("Embedding") as (tick,):
            results = test(weights, trial=trial, flip=published_flip(kind, dataset), progress=tick)
    else:
        words = [*([] if trial is None else [f"data.trial={trial}"]), *overrides]
        config = _recipe(kind, dataset, data_root, folder, device, settings, words, notice)
        differs = selection_notes(config, data)
        made = {
            "recipe": name + PUBLISHED,
            "changed": list(overrides),
            "seed": config.seed,
            "selected_on": config.validation.select,
            "selected_as_published": not differs and not changed(overrides, "validation"),
        }
        reservations += differs
        trials = [] if trial is not None else published_splits(dataset, published)
        if trials:
            results = run_study(config, trials=trials, notice=notice, progress_bars=progress_bars)
        else:
            with progress_bars("Preparing images", "Training") as (preparing, tick):
                resume = (folder / RUN).is_dir()
                train(config, resume=resume, preparing=preparing, progress=tick, notice=notice)
            with progress_bars("Embedding") as (tick,):
                results = test(folder / RUN, progress=tick)
    rows = tuple(Compared(one, results[settings.index(setting_of(one))]) for one in published)
    reasons = [*reservations, *why_it_may_differ(kind, rows, made, report)]
    machine = describe_environment(device, torch.get_num_threads())
    found = Reproduction(name, dataset, made, rows, tuple(reasons), report, machine, file)
    write_json(file, found.to_json())
    return found


def _weights(path: Path, kind: type[Method], dataset: str, folder: Path) -> tuple[Path, dict[str, Any], bool]:
    """The weights to test: those given, if they are ours, or the authors' checkpoint imported.

    Also what is told of them, and whether they say themselves on which split of the dataset they were trained.
    """
    card: Mapping[str, Any] | None = None
    if path.is_dir() or path.suffix == ".safetensors":
        try:
            path = weights_file(path)
            card = read_card(path)
        except CheckpointError:
            if path.is_dir() or not path.is_file():
                raise
    made = {"checkpoint": path.name, "sha256_16": file_hash(path)} if path.is_file() else {}
    if card is not None and "method" in card:
        if card["method"] != kind.name:
            raise CheckpointError(
                f"{path} is of the method {card['method']}, not of {kind.name}: ivreid reproduce {card['method']}"
            )
        selected = (card.get("selection") or {}).get("on", "not known")
        says_split = (card.get("dataset") or {}).get("name") == dataset
        return path, {**made, "selected_on": selected}, says_split
    weights = folder / "weights.safetensors"
    imported = import_checkpoint(path, weights, kind.name, dataset=dataset)
    return weights, {**made, "ignored_tensors": len(imported.ignored)}, False


def _recipe(
    kind: type[Method],
    dataset: str,
    root: Path | str,
    folder: Path,
    device: str,
    settings: Sequence[Mapping[str, Any]],
    words: Sequence[str],
    notice: Notice,
) -> Config:
    """The published training, its figures' settings to be tested after it."""
    if kind.recipe is None:
        raise UsageError(f"{kind.name} has no recipe here; give its checkpoint with --checkpoint FILE")
    fixed: list[str | tuple[str, Any]] = [
        ("data.dataset", dataset),
        ("data.root", str(root)),
        ("out", str(folder / RUN)),
        ("device", device),
        ("evaluation", [dict(setting) for setting in settings]),
    ]
    return load_config(None, [*fixed, *words], recipe=kind.name + PUBLISHED, notice=notice)
