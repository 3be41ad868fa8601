"""How far a run's training is, as its last state and its configuration tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ivreid.config.parse import load_config
from ivreid.errors import CheckpointError, IvreidError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.models.sealed import Kind, read_info

STATE = Kind(
    "training-state", "checkpoint", "training resumes only from checkpoints/last.safetensors of a run"
)


def load_position(path: Path) -> dict[str, Any]:
    """Where a training state stands (epoch, batch, step), without its tensors.

    Raises:
        CheckpointError: Missing or damaged file, another kind of file, or an unknown format.
    """
    refuse_missing(path)
    position = read_info(path, STATE)[0].get("position")
    if not isinstance(position, dict) or any(type(n) is not int or n < 0 for n in position.values()):
        raise CheckpointError(f"{path} is damaged: it does not say where the run stood")
    return position


def refuse_missing(path: Path) -> None:
    """Refuse a training state that is not there.

    Raises:
        CheckpointError: The message says how a run is started.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; train without --resume to start a run")


def unfinished_notes(path: Path) -> list[str]:
    """A note where weights are of a run that was killed, stopped, or is still at work.

    Args:
        path: What was given for the weights: a run folder, or the weights file in one.
    """
    folder = RunFolder(path if path.is_dir() else path.parent)
    if path not in (folder.path, folder.weights):
        return []
    try:
        position, config = load_position(folder.last), load_config(folder.config)
        done, total, unit = int(position["epoch"]), config.epochs, "epochs"
        if config.steps is not None:
            done, total, unit = int(position["step"]), config.steps, "steps"
    except (IvreidError, KeyError):  # no state or configuration: weights that were moved, or are not ours
        return []
    if done >= total:
        return []
    return [
        f"UNFINISHED: {done:,} of {total:,} {unit} of this training are done; the weights are the best so far "
        "(the same `ivreid train` command with --resume goes on)"
    ]
