"""One call from a dataset to a comparison with the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ivreid.config.recipes import PUBLISHED
from ivreid.datasets import check_dataset, load_dataset, recognise
from ivreid.distributed.processes import require_one_process
from ivreid.errors import DataError, UsageError
from ivreid.evaluation import evaluate_run
from ivreid.evaluation.validation import selection_notes
from ivreid.io import check_output, json_with, write_json
from ivreid.methods import get_method
from ivreid.reproduction.outcome import Compared, Reproduction
from ivreid.reproduction.published import (
    distinct_settings,
    published_flip,
    published_rows,
    published_splits,
    result_of,
    servable_rows,
)
from ivreid.reproduction.reasons import OTHER_SPLIT, changed, why_it_may_differ
from ivreid.reproduction.training import published_training, refuse_decided, train_and_test, without_folder
from ivreid.reproduction.weights import weights_to_test
from ivreid.training.environment import describe_environment
from ivreid.types import Notice, ProgressBars, no_progress_bars

REPRODUCTION = json_with("reproductions", "reproduction", "figures", "may_differ")


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
        out: A folder for weights, runs and `reproduction.json`; None: reproductions/NAME-DATASET. Each split has its
            own run in it, run/trial-04; one that is done is found again whether it or all of them are asked for.
        permutations: SYSU-MM01's `rand_perm_cam.mat`, where it does not lie in the dataset.
        overrides: `KEY=VALUE` changes of the training, which are told in `may_differ`; not of what the other arguments
            say, nor of what is measured.
        device: auto, cpu, cuda, cuda:N or mps.
        batch_size: Images per batch of the test.
        notice: Called with a line for people.
        progress_bars: Called with labels; gives a progress callable for each.

    Raises:
        UsageError: An unknown method, nothing was published on that dataset, or a change of what is not to be changed.
        DataError: A dataset that cannot be used.
        CheckpointError: A checkpoint that cannot be read, or of another method.
        IvreidError: As training and evaluation raise it.
    """
    require_one_process("a reproduction")
    kind = get_method(name)
    if checkpoint is not None and overrides:
        raise UsageError("settings are changed in a training; a checkpoint is tested as it is")
    refuse_decided(overrides)
    dataset = dataset or recognise(data_root)
    published = published_rows(kind, dataset, data_root)
    dataset = published[0].dataset
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
    splits = published_splits(dataset, published) if trial is None else [trial]
    data = load_dataset(dataset, data_root, trial=splits[0] if splits else None)
    published, reservations = servable_rows(published, data, permutations)
    for line in reservations:
        notice(line)
    settings = distinct_settings(published)
    test = partial(
        evaluate_run,
        data_root=data_root,
        dataset=dataset,
        settings=settings,
        permutations=permutations,
        device=device,
        batch_size=batch_size,
    )
    if checkpoint is not None:
        weights, made = weights_to_test(Path(checkpoint), kind, dataset, folder)
        trained_on = made.get("trained_on", {}).get("name")
        if splits and trained_on != dataset:
            trial = splits[0]
            reservations += [] if trained_on else [OTHER_SPLIT.format(trial)]
        with progress_bars("Embedding") as (tick,):
            results = test(weights, trial=trial, flip=published_flip(kind, dataset), progress=tick)
    else:
        config = published_training(
            kind, dataset, settings, overrides, root=data_root, folder=folder, device=device, notice=notice
        )
        differs = [line.replace(str(data.root), "the dataset") for line in selection_notes(config, data)]
        made = {
            "recipe": name + PUBLISHED,
            "changed": [without_folder(word) for word in overrides],
            "seed": config.seed,
            "selected_on": config.validation.select,
            "selected_as_published": not differs and not changed(overrides, "validation"),
        }
        reservations += differs
        results = train_and_test(config, splits, test, notice=notice, progress_bars=progress_bars)
    rows = tuple(Compared(one, result_of(one, results, data, permutations)) for one in published)
    reasons = [*reservations, *why_it_may_differ(kind, rows, made, report)]
    machine = describe_environment(device, torch.get_num_threads())
    found = Reproduction(name, dataset, made, rows, tuple(reasons), report, machine, file)
    write_json(file, found.to_json())
    return found
