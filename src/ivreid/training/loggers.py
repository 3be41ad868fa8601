"""Logs elsewhere: Weights & Biases and MLflow, on this machine unless their own settings say otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivreid.errors import UsageError, did_you_mean
from ivreid.training.curves import points
from ivreid.training.log import Callback

PROJECT = "ivreid"
"""The project, or experiment, that runs are filed under."""


class WandbLog:
    """Draws every row of the log in Weights & Biases.

    Nothing leaves the machine unless `WANDB_MODE=online` is set: `wandb sync FOLDER` uploads it later.

    Args:
        folder: The run folder; the files lie in its `wandb/`.
        config: The run's configuration.

    Raises:
        UsageError: wandb is not installed.
    """

    name = "Weights & Biases"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError("--logger wandb needs wandb: pip install 'ivreid[wandb]'") from error
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=PROJECT,
            name=folder.name,
            dir=str(folder),
            config=dict(config),
            mode=mode,
            settings=wandb.Settings(console="off", silent=True),
        )

    def __call__(self, row: dict[str, Any]) -> None:
        """Log one row."""
        self._run.log(points(row), step=row["step"])

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class MlflowLog:
    """Logs every row with MLflow, to `mlflow.db` in the run folder unless `MLFLOW_TRACKING_URI` is set.

    Args:
        folder: The run folder.
        config: The run's configuration.

    Raises:
        UsageError: mlflow is not installed.
    """

    name = "MLflow"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UsageError("--logger mlflow needs mlflow: pip install 'ivreid[mlflow]'") from error
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client = MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(PROJECT)
        experiment = known.experiment_id if known else self._client.create_experiment(PROJECT)
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in _flat(config).items():
            self._client.log_param(self._run, key, str(value)[:500])

    def __call__(self, row: dict[str, Any]) -> None:
        """Log one row."""
        for name, value in points(row).items():
            self._client.log_metric(self._run, name, value, step=row["step"])

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)


LOGGERS: Mapping[str, Callable[[Path, Mapping[str, Any]], Callback]] = {
    "wandb": WandbLog,
    "mlflow": MlflowLog,
}
"""What `--logger` knows, by name."""


def check_loggers(names: Sequence[str | Callback]) -> None:
    """Refuse names of no logger.

    Raises:
        UsageError: With the names there are.
    """
    for name in names:
        if isinstance(name, str) and name not in LOGGERS:
            raise UsageError(f"unknown logger {name!r}; {did_you_mean(name, LOGGERS)}")


def open_loggers(names: Sequence[str | Callback], folder: Path, config: Mapping[str, Any]) -> list[Callback]:
    """The loggers of those names, and callables as they are."""
    return [LOGGERS[one](folder, config) if isinstance(one, str) else one for one in names]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return out
