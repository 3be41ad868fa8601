"""The training state in one safetensors file: tensors, and the rest as JSON in its metadata. Never a pickle.

Tensors are named `model.NAME`, `ema.NAME` and `optimizer.PARAMETER.KEY`; everything is joined by name. There
is no random state to save: each step seeds its generators from (seed, step), and the order of images and
their augmentation are functions of (seed, epoch).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from ivreid.distributed.collectives import broadcast, broadcast_tensors
from ivreid.distributed.processes import ProcessRank
from ivreid.errors import CheckpointError
from ivreid.evaluation.position import STATE, refuse_missing
from ivreid.models.sealed import read_sealed, write_sealed
from ivreid.training.ema import WeightAverage


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint file holds.

    Attributes:
        path: Where it was read from, for messages.
        tensors: Every tensor by its prefixed name.
        info: The JSON part: position, configuration, best score, scaler, health, fingerprints, versions.
    """

    path: Path
    tensors: dict[str, Tensor]
    info: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix.`, without it."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)
        }


def save_state(
    path: Path, network: nn.Module, optimizer: Optimizer, average: WeightAverage | None, info: dict[str, Any]
) -> None:
    """Write the training state atomically.

    Raises:
        DataError: The disk is full or the folder cannot be written; an older file at `path` is unchanged.
    """
    tensors = {f"model.{name}": value for name, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"ema.{name}": value for name, value in average.network.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in _optimizer_tensors(network, optimizer).items()}
    write_sealed(path, STATE, tensors, info)


def load_state(path: Path) -> TrainingState:
    """Read a training state.

    Raises:
        CheckpointError: Missing or damaged file, another kind of file, or a format this version does not
            know.
    """
    refuse_missing(path)
    return TrainingState(Path(path), *read_sealed(path, STATE))


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Position(_Strict):
    model_config = ConfigDict(extra="forbid")
    epoch: NonNegativeInt
    batch: NonNegativeInt
    step: NonNegativeInt


class _Health(_Strict):
    model_config = ConfigDict(extra="forbid")
    seen: NonNegativeInt
    first: dict[str, float]
    recent: dict[str, float]


class _Resumable(_Strict):
    """What a state must say so that a run can go on from it."""

    config: dict[str, Any]
    dataset: dict[str, str | int | bool | None]
    precision: str
    processes: PositiveInt = 1
    rounding: dict[str, str | int] = {}
    position: _Position
    best: dict[str, float] | None
    health: _Health
    scaler: dict[str, float]
    log_bytes: NonNegativeInt


def check_resumable(state: TrainingState) -> None:
    """Whether a state says all that a run needs to go on.

    Raises:
        CheckpointError: Something is missing or of a wrong kind; the message names it.
    """
    try:
        _Resumable.model_validate(state.info)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{state.path} is damaged: `{where}` in it: {first['msg']}") from error


def broadcast_state(process: ProcessRank, state: TrainingState | None) -> TrainingState | None:
    """Rank 0's state, on every process; what the others pass is ignored."""
    head = broadcast(process, None if state is None else (state.path, state.info))
    if head is None:
        return None
    return TrainingState(head[0], broadcast_tensors(process, {} if state is None else state.tensors), head[1])


def restore_state(
    state: TrainingState, network: nn.Module, optimizer: Optimizer, average: WeightAverage | None
) -> None:
    """Put a training state back into freshly built parts.

    Raises:
        CheckpointError: The state is of another architecture; the message names keys and shapes.
    """
    _fill(state, "model", network)
    if average is not None:
        _fill(state, "ema", average.network)
    _restore_optimizer(state, network, optimizer)


def _fill(state: TrainingState, prefix: str, network: nn.Module) -> None:
    found, wanted = state.part(prefix), network.state_dict()
    problems = [f"lacks {name}" for name in wanted.keys() - found.keys()]
    problems += [f"has {name}, which this network lacks" for name in found.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {list(found[name].shape)}, this network needs {list(wanted[name].shape)}"
        for name in wanted.keys() & found.keys()
        if found[name].shape != wanted[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + (
            f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        )
        raise CheckpointError(f"{state.path} is of another architecture ({prefix}): {shown}")
    network.load_state_dict(found)  # copies in place: memory layout and device stay as they are


def _names(network: nn.Module, optimizer: Optimizer) -> list[str]:
    """Parameter names in the optimiser's own order, which is what its state is numbered by."""
    by_id = {id(parameter): name for name, parameter in network.named_parameters()}
    return [by_id[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_tensors(network: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    names = _names(network, optimizer)
    return {
        f"{names[index]}.{key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
        if value is not None
    }


def _restore_optimizer(state: TrainingState, network: nn.Module, optimizer: Optimizer) -> None:
    found = state.part("optimizer")
    parameters = dict(network.named_parameters())
    entries: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(_names(network, optimizer)):
        start = f"{name}."
        for key in [key for key in found if key.startswith(start) and "." not in key.removeprefix(start)]:
            value, like = found.pop(key), parameters[name]
            if (
                value.shape == like.shape
            ):  # fused kernels pair numbers by place in memory: take the same layout
                value = torch.empty_like(like).copy_(value)
            elif value.ndim:
                raise CheckpointError(
                    f"{state.path}: optimizer.{key} has shape {list(value.shape)}, not {list(like.shape)}"
                )
            entries.setdefault(index, {})[key.removeprefix(start)] = value
    if found:
        raise CheckpointError(
            f"{state.path} holds optimiser state for unknown parameters: {', '.join(sorted(found)[:5])}"
        )
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
