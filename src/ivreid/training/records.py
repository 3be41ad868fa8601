"""What a run writes about itself: the state's JSON part, the weights' card, configuration and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from ivreid.catalogue import provenance
from ivreid.config.parse import dump_config, make_config, to_yaml
from ivreid.config.schema import Config
from ivreid.datasets.seen_pictures import sample_contents
from ivreid.errors import CheckpointError, DataError, IvreidError, TrainingError
from ivreid.evaluation.leaks import DIVIDED
from ivreid.evaluation.run_folder import RunFolder
from ivreid.evaluation.validation import validation_samples
from ivreid.io import write_json, write_text
from ivreid.models import write_weights
from ivreid.protocols import SYNTHETIC_MARK, get_protocol
from ivreid.training.checkpoint import TrainingState
from ivreid.training.environment import describe_environment, versions
from ivreid.training.setup import RunParts, division, training_samples

MAY_DIFFER = (
    "device",
    "out",
    "epochs",
    "data.root",
    "data.synthetic",
    "data.workers",
    "data.cache",
    "checkpoint",
    "evaluation",
    "compile",
)
"""Keys that a resumed run may change: none of them moves a weight (but see `_may_differ`)."""


def state_info(config: Config, parts: RunParts) -> dict[str, Any]:
    """The part of a training state that says which run it belongs to."""
    return {
        "config": dump_config(config),
        "num_classes": parts.data.num_classes,
        "dataset": dataset_card(parts),
        "precision": parts.precision,
        "processes": parts.process.world_size,
        "rounding": rounding(parts),
        "plugins": plugins(config),
        "versions": versions(),
    }


def rounding(parts: RunParts) -> dict[str, Any]:
    """What the last bits of a step depend on besides the configuration."""
    device = parts.device.type
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "instruction set": torch.backends.cpu.get_cpu_capability() if device == "cpu" else None,
        "torch": torch.__version__,
    }


def rounding_changes(state: TrainingState, parts: RunParts) -> str:
    """What of it has changed since a state was saved, in words; empty where the next bits stay the same."""
    then, now = state.info.get("rounding", {}), rounding(parts)
    return ", ".join(f"{key} was {then[key]}, now {now[key]}" for key in then if then[key] != now.get(key))


def plugins(config: Config) -> list[dict[str, Any]]:
    """What a run uses of other people's code: files with their hash, packages with their version."""
    dataset = config.data.dataset
    return provenance(
        method=config.method["name"],
        dataset=dataset,
        protocol=get_protocol(dataset).name,
        augmentation=config.augment.own_names,
    )


def dataset_card(parts: RunParts) -> dict[str, Any]:
    """Which images a model learned from."""
    data = parts.dataset
    card: dict[str, Any] = {"name": data.name, "fingerprint": data.fingerprint, "trial": data.trial}
    card |= {SYNTHETIC_MARK: True} if data.synthetic else {}
    return {**card, DIVIDED: True} if data.divided else card


def seen_pictures(config: Config, parts: RunParts) -> list[str]:
    """Content keys of a sample of what was trained on and selected on, for the leak guard."""
    held_out = validation_samples(config, parts.dataset) if config.validation.select == "validation" else ()
    trained = training_samples(config, parts.dataset)
    return sample_contents(parts.dataset.root, [*trained, *held_out])


def check_same_run(state: TrainingState, config: Config, parts: RunParts) -> None:
    """Refuse to resume a checkpoint of another run.

    Raises:
        CheckpointError: The configuration differs in a key that matters, or the images do; each key is named
            with both values.
    """
    theirs, ours = _flat(_of_this_version(state.info["config"])), _flat(dump_config(config))
    matter = [key for key in {**theirs, **ours} if not _may_differ(key, config)]
    missing = object()
    lines = [
        f"{key} was {theirs.get(key)!r}, now {ours.get(key)!r}"
        for key in matter
        if theirs.get(key, missing) != ours.get(key, missing)
    ]
    then_data, now_data = (
        {**one, SYNTHETIC_MARK: None} for one in (state.info["dataset"], dataset_card(parts))
    )
    if then_data != now_data:
        lines.append(f"the images were {state.info['dataset']}, now {dataset_card(parts)}")
    if state.info["precision"] != parts.precision:
        lines.append(f"precision was {state.info['precision']}, here it is {parts.precision}")
    then, now = state.info.get("processes", 1), parts.process.world_size
    if then != now and not config.checkpoint.any_world_size:
        lines.append(
            f"it ran in {then} process(es), now {now} (--set checkpoint.any_world_size=true allows it; the "
            "result then differs a little)"
        )
    begun = state.info["position"]["epoch"] + (state.info["position"]["batch"] > 0)
    if config.steps is None and begun > config.epochs:
        lines.append(f"{begun} epochs are done or begun, more than the {config.epochs} now asked for")
    if lines:
        raise CheckpointError(
            f"{state.path} is of another configuration: {'; '.join(lines)}. Resume with the values it was "
            f"trained with ({state.path.parent.parent / 'config.yaml'}), or start another run with --out"
        )


def _of_this_version(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of an earlier version with the keys that came since, at what they then were: default."""
    try:
        return dump_config(make_config(config))
    except IvreidError:  # a key that is gone, or a value that no longer fits: named by the comparison
        return config


def _may_differ(key: str, config: Config) -> bool:
    if key == "epochs" and (config.steps is not None or config.schedule.name in ("cosine", "triangle")):
        return False  # rates depend on the run's length
    return any(key == free or key.startswith(f"{free}.") for free in MAY_DIFFER)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def write_card(
    path: Any,
    config: Config,
    parts: RunParts,
    network: nn.Module,
    best: Mapping[str, Any] | None,
    seen: Sequence[str],
) -> None:
    """Write weights for use, with a card that says what they are and what they have seen."""
    held_out = config.validation.select == "validation"
    card = {
        **parts.network.card(),
        "preprocessing": config.data.preprocessing.model_dump(mode="json"),
        "dataset": dataset_card(parts),
        "train_pids": list(parts.data.pids),
        "selection": {
            "on": config.validation.select,
            "metric": config.validation.metric,
            "pids": list(parts.dataset.pids("val")) if held_out else [],
        },
        "seen_pictures": list(seen),
        "metrics": dict(best or {}),
        **({} if config.embedding.flip == "none" else {"advice": {"flip": config.embedding.flip}}),
        "plugins": plugins(config),
        "versions": versions(),
        "licence": "not stated: weights inherit the terms of the images they were trained on",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_weights(path, network.state_dict(), card)


def write_run_files(folder: RunFolder, config: Config, parts: RunParts) -> None:
    """Write the resolved configuration and what produced the run.

    Raises:
        TrainingError: The folder cannot be written.
    """
    device = str(parts.device)
    if parts.device.type == "cuda":
        device = f"{device} ({torch.cuda.get_device_name(parts.device)})"
    environment = describe_environment(device, torch.get_num_threads()) | {
        "precision": parts.precision,
        "processes": parts.process.world_size,
        "plugins": plugins(config),
        "dataset": dataset_card(parts),
        "train_fingerprint": parts.dataset.split_fingerprint("train"),
        "identities": parts.data.num_classes,
        "images": len(parts.data),
        **({"people": division(parts.dataset)} if parts.dataset.divided else {}),
        "skipped_images": [sample.path for sample in parts.data.skipped],
    }
    try:
        write_text(folder.config, to_yaml(config))
        write_json(folder.environment, environment)
    except DataError as error:
        raise TrainingError(str(error)) from error
