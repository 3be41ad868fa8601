"""A method's published figures beside those that its checkpoint, or a training by its recipe, reaches here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ivreid.config import Config, load_config
from ivreid.config.recipes import PUBLISHED
from ivreid.datasets import Dataset, DatasetReport, check_dataset, load_dataset, recognise
from ivreid.datasets.registry import get_reader
from ivreid.distributed.processes import require_one_process
from ivreid.errors import CheckpointError, DataError, ProtocolError, UsageError, counted, did_you_mean
from ivreid.evaluation import evaluate_run
from ivreid.evaluation.settings import choose_settings
from ivreid.inference import Flip, flip_of, weights_file
from ivreid.io import check_output, file_hash, json_with, write_json
from ivreid.methods import Method, get_method
from ivreid.methods.checkpoint_import import import_checkpoint
from ivreid.methods.publication import PublishedFigures
from ivreid.models.weights import read_card
from ivreid.protocols import Result
from ivreid.studies import run_study
from ivreid.training import train
from ivreid.training.environment import describe_environment
from ivreid.types import Notice, ProgressBars, no_progress_bars

REPRODUCTION = json_with("reproductions", "reproduction", "figures", "may_differ")
TEST_IDENTITIES = {"sysu-mm01": 96, "regdb": 206, "llcm": 351}
"""Of the datasets as their authors released them."""
RUN = "run"
KEPT = {
    "published-test": "the epoch was chosen on the test identities{}, and the figures flatter",
    "validation": "the epoch was chosen on the validation identities",
    "last": "the last epoch was kept{}",
}
"""Which weights a training left, by `validation.select`."""
OTHER_SPLIT = (
    "tested on split {}; if the authors trained it on another one, some of these people were trained on: give its number "
    "with --trial"
)
COMPARED = {"rank1": "rank1", "mAP": "mean_ap", "mINP": "mean_inp"}


@dataclass(frozen=True)
class Compared:
    """One published row and ours.

    Attributes:
        published: The row.
        result: Ours, under the same setting.
    """

    published: PublishedFigures
    result: Result

    def figures(self) -> list[dict[str, Any]]:
        """Name, published and own value, difference, interval over query identities and deviation over trials."""
        rows = []
        intervals = self.result.extra.get("intervals") or {}
        for name, attribute in COMPARED.items():
            theirs, ours = getattr(self.published, attribute), self.result.mean[name]
            given = None if theirs is None else theirs / 100
            interval = intervals.get(name)
            rows.append(
                {
                    "figure": name,
                    "published": given,
                    "ours": ours,
                    "difference": None if given is None else ours - given,
                    "interval": interval and {key: interval[key] for key in ("low", "high", "confidence")},
                    "std": self.result.std[name] if len(self.result.trials) > 1 else None,
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values; fractions, never percent."""
        one = self.published
        return {
            "setting": one.setting,
            "kind": one.kind,
            "source": one.source,
            "draw": one.draw,
            "title": self.result.title,
            "rerank": self.result.rerank,
            "tta": self.result.tta,
            "compared": self.figures(),
        }


@dataclass(frozen=True)
class Reproduction:
    """What was published, what came out here, and why the two may differ.

    Attributes:
        method: Its name.
        dataset: Registry name.
        made: What was tested: a checkpoint's file and hash, or the recipe of a training and what was changed in it.
        rows: One for every published row.
        may_differ: Sentences for people.
        report: What the check of the dataset found.
        environment: Versions and machine.
        file: The JSON that holds all of this.
    """

    method: str
    dataset: str
    made: Mapping[str, Any]
    rows: tuple[Compared, ...]
    may_differ: tuple[str, ...]
    report: DatasetReport
    environment: Mapping[str, Any]
    file: Path

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values, without a path of this machine."""
        results = {id(row.result): row.result for row in self.rows}
        return {
            "reproduction": self.method,
            "dataset": {
                "name": self.dataset,
                "fingerprint": self.report.fingerprint,
                "problems": len(self.report.problems),
                "test_identities_published": TEST_IDENTITIES.get(self.dataset),
            },
            "made": dict(self.made),
            "figures": [row.to_json() for row in self.rows],
            "may_differ": list(self.may_differ),
            "results": [result.to_json() for result in results.values()],
            "environment": dict(self.environment),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }


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
    published = _published(kind, dataset, data_root)
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
    published, reservations = _servable(
        published, load_dataset(dataset, data_root, trial=trial), permutations
    )
    for line in reservations:
        notice(line)
    test = partial(
        evaluate_run,
        data_root=data_root,
        dataset=dataset,
        settings=(settings := _settings(published)),
        permutations=permutations,
        device=device,
        batch_size=batch_size,
    )
    if checkpoint is not None:
        weights, made, says_split = _weights(Path(checkpoint), kind, dataset, folder)
        splits = [] if says_split else _trials(dataset, published)
        if splits:
            trial = trial or splits[0]
            reservations.append(OTHER_SPLIT.format(trial))
        with progress_bars("Embedding") as (tick,):
            results = test(weights, trial=trial, flip=_published_flip(kind, dataset), progress=tick)
    else:
        words = [*([] if trial is None else [f"data.trial={trial}"]), *overrides]
        config = _recipe(kind, dataset, data_root, folder, device, settings, words, notice)
        made = {
            "recipe": name + PUBLISHED,
            "changed": list(overrides),
            "seed": config.seed,
            "selected_on": config.validation.select,
        }
        trials = [] if trial is not None else _trials(dataset, published)
        if trials:
            results = run_study(config, trials=trials, notice=notice, progress_bars=progress_bars)
        else:
            with progress_bars("Preparing images", "Training") as (preparing, tick):
                resume = (folder / RUN).is_dir()
                train(config, resume=resume, preparing=preparing, progress=tick, notice=notice)
            with progress_bars("Embedding") as (tick,):
                results = test(folder / RUN, progress=tick)
    rows = tuple(Compared(one, results[settings.index(_setting(one))]) for one in published)
    reasons = [*reservations, *_may_differ(kind, rows, made, report)]
    machine = describe_environment(device, torch.get_num_threads())
    found = Reproduction(name, dataset, made, rows, tuple(reasons), report, machine, file)
    write_json(file, found.to_json())
    return found


def _published(kind: type[Method], dataset: str | None, root: Path | str) -> tuple[PublishedFigures, ...]:
    """The rows to reproduce."""
    figures = kind.publication.figures if kind.publication else ()
    there = list(dict.fromkeys(one.dataset for one in figures))
    if not there:
        raise UsageError(f"nothing was published about {kind.name}, so there is nothing to reproduce")
    if dataset is None:
        raise UsageError(
            f"{root} has the layout of none of the known datasets; say with --dataset which it is: {', '.join(there)}"
        )
    rows = tuple(one for one in figures if one.dataset == dataset)
    if not rows:
        raise UsageError(
            f"no figures of {kind.name} on {dataset} are known here; {did_you_mean(dataset, there)}"
        )
    return rows


def _servable(
    published: Sequence[PublishedFigures], data: Dataset, permutations: Path | str | None
) -> tuple[tuple[PublishedFigures, ...], list[str]]:
    """The rows whose protocol the images can serve, and a line about each of the others; told before any work.

    Raises:
        IvreidError: There is none.
    """
    served, lines, last = [], [], None
    for one in published:
        try:
            choose_settings([one.options] * 2, [None] * 2, data, permutations=permutations)
            served.append(one)
        except (UsageError, ProtocolError) as error:
            last = error
            lines.append(f"{one.setting} ({one.source}) is left out: {error}")
    if last is not None and not served:
        raise last
    return tuple(served), lines


def _published_flip(kind: type[Method], dataset: str) -> Flip:
    recipe = kind.recipe.on(dataset).get("embedding", {}) if kind.recipe else {}
    return flip_of(recipe.get("flip") or (kind.importer.flip if kind.importer else None) or "none")


def _setting(one: PublishedFigures) -> dict[str, Any]:
    return {**one.options, "rerank": one.rerank or None}


def _settings(published: Sequence[PublishedFigures]) -> list[dict[str, Any]]:
    """Every setting once."""
    found: list[dict[str, Any]] = []
    for one in published:
        if _setting(one) not in found:
            found.append(_setting(one))
    return found


def _trials(dataset: str, published: Sequence[PublishedFigures]) -> list[int]:
    """The splits that the figures were measured on; none where the dataset has one."""
    known = list(get_reader(dataset).trials)
    splits = {one.split for one in published}
    return known if None in splits else sorted(split for split in splits if split in known)


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


def _may_differ(
    kind: type[Method], rows: Sequence[Compared], made: Mapping[str, Any], report: DatasetReport
) -> list[str]:
    """Every reason why our figures may not be the published ones, for people."""
    identities = _test_identities(report)
    official = TEST_IDENTITIES.get(report.name)
    out = []
    if official is not None and identities != official:
        out.append(
            f"these are not the published images: {identities} test identities, {report.name} has {official}; nothing "
            "can be said about the published figures"
        )
    if report.problems:
        out.append(f"the check of the dataset found {counted(len(report.problems), 'problem')}")
    for row in rows:
        out += _of_the_row(row, flip_as_published=not _changed(made, "embedding"))
    if "recipe" in made:
        as_published = "" if _changed(made, "validation") else ", as published"
        kept = KEPT[made["selected_on"]].format(as_published)
        out.append(f"trained here by {made['recipe']}: {kept}; another machine or seed gives others")
        if made["changed"]:
            out.append(f"the training was changed: {' '.join(made['changed'])}")
    elif "selected_on" in made:
        out.append(f"weights of ours, selected on: {made['selected_on']}")
    else:
        out.append("the authors chose the checkpoint's epoch; on whom it was trained, the file does not say")
    out += kind.publication.remarks if kind.publication else ()
    for row in rows:
        out += row.result.notes
    return list(dict.fromkeys(out))


def _changed(made: Mapping[str, Any], section: str) -> bool:
    """Whether the training's settings were changed there."""
    return any(str(word).startswith((f"{section}.", f"{section}=")) for word in made.get("changed", ()))


def _of_the_row(row: Compared, *, flip_as_published: bool) -> Iterator[str]:
    """How one row was measured, where that is not as published or decides the figure."""
    one, options = row.published, row.result.options
    if "draw" in options:
        known = "as published" if one.draw == options["draw"] else "the published draw is not known"
        yield f"{one.setting}: galleries drawn as {options['draw']}, {known}"
    elif "direction" in options:
        yield f"{one.setting}: query first, as published; some programs report the other direction"
    splits = len(get_reader(one.dataset).trials)
    if one.split is not None and splits:
        yield f"{one.setting}: published on split {one.split} alone, ours is of split {options.get('trial', 'all')}"
    elif splits > len(row.result.trials):
        ours = options.get("trial") or len(row.result.trials)
        yield f"{one.setting}: the published figures are means over {splits} splits, ours are of split {ours}"
    if one.kind != "plain":
        how = row.result.rerank or "not re-ranked, so they do not compare"
        yield f"{one.setting}: the published figures are {one.kind}; ours: {how}"
    if row.result.tta:
        how = ", as published" if flip_as_published else ""
        yield f"{one.setting}: several views of each image were embedded{how}: {row.result.tta}"


def _test_identities(report: DatasetReport) -> int:
    """Identities of the largest test split, of the modality and camera that most of them are seen by."""
    return max((count.identities for count in report.counts if count.split == "test"), default=0)
