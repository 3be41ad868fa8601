"""From a configuration to the parts of a run: data, network, optimiser, validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from ivreid import methods
from ivreid.config.schema import Config, DataSection
from ivreid.data import (
    TrainingSet,
    TrainLoader,
    default_cache_folder,
    measure_value_range,
    open_images,
    open_training_set,
    usable_workers,
)
from ivreid.datasets import Dataset, Kind, divide_people, get_reader, hold_out, load_dataset
from ivreid.distributed.collectives import local_rank_0_first
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank, local_device
from ivreid.distributed.sync_norm import synchronise_norms
from ivreid.errors import ConfigError, DataError, UsageError
from ivreid.evaluation.validation import check_validation, validation_samples
from ivreid.methods import Method
from ivreid.paths import not_there
from ivreid.synthetic import DEFAULT_GAP, SynthSummary, synthesise
from ivreid.training.batch_checks import check_batch, check_every_batch
from ivreid.training.ema import WeightAverage
from ivreid.training.initial_weights import is_ours, start_from
from ivreid.training.optimizer import make_optimizer
from ivreid.training.precision import Precision, choose_precision
from ivreid.types import Progress, Sample


@dataclass(frozen=True)
class RunParts:
    """What a run is made of.

    Attributes:
        dataset: The dataset, with "val" where identities are held out.
        data: The labelled training images.
        loader: Batches, by epoch and position.
        network: The method's network, on the device.
        optimizer: Over the method's parameter groups.
        average: Averaged weights, or None.
        scaler: Loss scaling; does nothing except in fp16.
        device: Where steps run.
        precision: The number format they run in.
        process: Which process of how many this is.
    """

    dataset: Dataset
    data: TrainingSet
    loader: TrainLoader
    network: Method
    optimizer: Optimizer
    average: WeightAverage | None
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: Precision
    process: ProcessRank = SINGLE_PROCESS


def build_run_parts(
    config: Config,
    process: ProcessRank = SINGLE_PROCESS,
    *,
    initial_weights: bool = True,
    progress: Progress | None = None,
) -> RunParts:
    """Load the data and build the network that a configuration describes.

    Args:
        config: The run.
        process: Which process of how many.
        initial_weights: Whether to load the method's pretrained weights; a resumed run brings its own.
        progress: Called with (done, total) while images are drawn, or decoded into the cache.

    Raises:
        IvreidError: A dataset, image, option or weights file that cannot be used.
    """
    check_batch(config, process)
    device = local_device(config.device, process)
    precision = choose_precision(config.precision, device)
    with local_rank_0_first(process):  # it makes what the others then find: pictures, the image cache
        dataset = prepare_dataset(config, progress)
        data = open_training_set(
            dataset.root,
            training_samples(config, dataset),
            config.data.size,
            value_range=config.data.preprocessing.value_range,
            resize=config.data.resize,
            cache=default_cache_folder() if config.data.cache else None,
            dataset=dataset.fingerprint,
            on_bad_image=config.data.on_bad_image,
            workers=config.data.workers,
            progress=progress,
        )
    check_validation_images(config, dataset, process, progress)
    loader = TrainLoader(
        data,
        config.batch,
        config.augment,
        config.seed,
        rank=process.rank,
        world_size=process.world_size,
        workers=config.data.workers,
        pin_memory=device.type == "cuda",
    )
    check_every_batch(config, loader)
    settings = {key: value for key, value in config.method.items() if key != "name"}
    start = config.init_from if initial_weights else None
    ours = start is not None and is_ours(start)
    if start is not None and not ours:
        settings["pretrained"] = start
    network = methods.build(
        config.method["name"],
        settings,
        data.num_classes,
        size=config.data.size,
        pretrained=initial_weights,
        seed=config.seed,
    )
    if start is not None and ours:
        start_from(network, start)
    if config.sync_batchnorm and not process.is_single:
        network = synchronise_norms(network, device)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    average = WeightAverage(network, config.ema) if config.ema else None
    if config.compile:
        network.compile()
    optimizer = make_optimizer(config.optimizer, network.parameter_groups(config.optimizer.lr), device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    return RunParts(
        dataset, data, loader, network.train(), optimizer, average, scaler, device, precision, process
    )


def check_validation_images(
    config: Config, dataset: Dataset, process: ProcessRank, progress: Progress | None = None
) -> None:
    """Decode this process's share of the validation images into the cache, where there is one.

    Each validation reads them from there, and one that cannot be read stops the run now and not at its first
    validation.

    Raises:
        ImageError: Unreadable images, all of them named; a validation never skips any.
    """
    samples = validation_samples(config, dataset)[process.rank :: process.world_size]
    if samples and config.data.cache:
        open_images(
            dataset.root,
            [sample.path for sample in samples],
            config.data.size,
            value_range=config.data.preprocessing.value_range,
            resize=config.data.resize,
            cache=default_cache_folder(),
            dataset=dataset.fingerprint,
            workers=usable_workers(config.data.workers),
            progress=progress,
        )


def settle_range(config: Config, progress: Progress | None = None) -> Config:
    """The configuration with numbers in the place of `data.value_range: dataset`: the range of the training images.

    Raises:
        ConfigError: No training image holds more than eight bits.
        IvreidError: A dataset that cannot be used.
    """
    if config.data.value_range != "dataset":
        return config
    dataset = prepare_dataset(config, progress)
    paths = [sample.path for sample in training_samples(config, dataset)]
    found = measure_value_range(
        dataset.root, paths, workers=usable_workers(config.data.workers), progress=progress
    )
    if found is None or found[0] == found[1]:
        raise ConfigError(
            f"data.value_range = dataset, but no training image in {dataset.root} holds grey of more than eight bits "
            "(or all hold one value); leave it out"
        )
    return config.model_copy(update={"data": config.data.model_copy(update={"value_range": found})})


def prepare_dataset(config: Config, progress: Progress | None = None) -> Dataset:
    """The dataset of a run, with validation identities held out where it needs some and has none.

    A folder or table of one's own that names no split is divided by identity into people to train and to test on.

    With `on_bad_image: skip` files too small or too large for an image do not make it unusable.

    Raises:
        ConfigError: No root, or `train+val` of a dataset without validation identities.
        DataError: A dataset that cannot be used.
    """
    if config.data.root is None:
        raise ConfigError("data.root is not set: say where the dataset lies with --data ROOT")
    draw_people(config.data, progress)
    if not config.data.root.exists():
        raise DataError(
            f"data.root = {config.data.root} does not exist{not_there(config.data.root)}; say where the dataset "
            "lies with --data ROOT"
        )
    tolerated = (Kind.EMPTY_FILE, Kind.HUGE_FILE) if config.data.on_bad_image == "skip" else ()
    dataset = load_dataset(
        config.data.dataset, config.data.root, trial=config.data.trial, tolerated=tolerated
    )
    if set(dataset.splits) == {"test"} and get_reader(dataset.name).own_numbers:
        dataset = divide_people(dataset, config.data.test_fraction, config.data.split_seed)
    if "train" not in dataset.splits:
        raise UsageError(
            f"{dataset.root} has no training split, only {', '.join(dataset.splits)}; a CSV dataset gets "
            "one from a column `split` with the values train, val and test"
        )
    if config.data.train_on == "train+val" and "val" not in dataset.splits:
        raise ConfigError(
            f"data.train_on = train+val: {dataset.name} defines no validation identities, `train` is "
            "everything"
        )
    if config.validation.select == "validation" and "val" not in dataset.splits:
        dataset = hold_out(dataset, config.validation.fraction, config.seed)
    check_validation(config, dataset)
    return dataset


def division(dataset: Dataset) -> dict[str, list[int]]:
    """Who is in which split, where the people were divided here; empty where the dataset says it itself."""
    return {name: list(dataset.pids(name)) for name in dataset.splits} if dataset.divided else {}


def tell_division(config: Config, dataset: Dataset, notice: Callable[[str], None]) -> None:
    """Say how the people were divided."""
    found = division(dataset)
    if found:
        shares = ", ".join(f"{len(pids)} {name}" for name, pids in found.items())
        notice(
            f"{dataset.root} names no split: its people are divided by identity, {shares} (data.split_seed = "
            f"{config.data.split_seed}, data.test_fraction = {config.data.test_fraction:g}); the weights' card and "
            "environment.json hold who is where"
        )


def draw_people(data: DataSection, progress: Progress | None = None) -> SynthSummary | None:
    """Draw the synthetic dataset that a configuration asks for; at once where it is already there.

    Raises:
        UsageError: `data.root` holds something else.
        ConfigError: No `data.root` to draw it at.
    """
    if data.synthetic is None:
        return None
    if data.root is None:
        raise ConfigError("data.synthetic needs data.root, the folder to draw the pictures in")
    people = data.synthetic
    return synthesise(
        data.root,
        layout=data.dataset,
        identities=people.identities,
        images=people.images,
        size=people.size,
        seed=people.seed,
        gap=DEFAULT_GAP if people.gap is None else people.gap,
        progress=progress,
    )


def training_samples(config: Config, dataset: Dataset) -> tuple[Sample, ...]:
    """The images that are trained on."""
    return tuple(sample for split in config.data.train_on.split("+") for sample in dataset.split(split))
