"""Logs elsewhere: callables, and the real libraries where they are installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivreid.config import Config
from ivreid.errors import UsageError
from ivreid.training import read_log, train
from ivreid.training.curves import points
from ivreid.training.loggers import LOGGERS, MlflowLog, WandbLog

ROWS: list[dict[str, Any]] = [
    {"kind": "step", "step": n, "loss": 2.0 / n, "terms": {"identity": 1.0 / n}, "rates": {"all": 0.1}}
    for n in (1, 2, 3)
]


def needs(module: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(absent, reason=f"{module} is not installed: pip install 'ivreid[{module}]'")


def test_a_callable_receives_every_row_and_is_closed(tiny_config: Callable[..., Config]) -> None:
    class Rows(list):  # type: ignore[type-arg]
        closed = False

        def __call__(self, row: dict[str, Any]) -> None:
            self.append(row)

        def close(self) -> None:
            self.closed = True

    rows = Rows()
    summary = train(tiny_config(epochs=1), loggers=[rows])
    assert list(rows) == read_log(summary.folder / "metrics.jsonl")
    assert rows.closed
    assert {row["kind"] for row in rows} == {"step", "validation"}


def test_one_that_fails_ends_no_run(tiny_config: Callable[..., Config]) -> None:
    calls, said = [], []

    def fails(row: dict[str, Any]) -> None:
        calls.append(row)
        raise RuntimeError("no room")

    train(tiny_config(epochs=1), loggers=[fails], notice=said.append)
    assert len(calls) == 1
    assert any("no room" in line for line in said)


def test_an_unknown_logger_is_refused_before_the_run(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config(epochs=1)
    with pytest.raises(UsageError, match="unknown logger 'wandbs'; did you mean wandb"):
        train(config, loggers=["wandbs"])
    assert not Path(str(config.out)).exists()


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in LOGGERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=rf"pip install 'ivreid\[{name}\]'"):
            LOGGERS[name](tmp_path, {})


@pytest.mark.slow
@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow import MlflowClient

    log = MlflowLog(tmp_path, {"seed": 3, "data": {"size": [64, 32]}})
    for row in ROWS:
        log(row)
    log.close()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ivreid")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {"seed": "3", "data.size": "[64, 32]"}
    assert run.info.status == "FINISHED"
    for name in points(ROWS[0]):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(one.step, one.value) for one in history] == [
            (row["step"], points(row)[name]) for row in ROWS
        ]


@pytest.mark.slow
@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_a_run_here_and_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    log = WandbLog(tmp_path, {"seed": 3})
    for row in ROWS:
        log(row)
    log.close()
    import wandb

    wandb.teardown()  # its writer is another process, which ends here
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    data = file.read_bytes()
    assert b"train/loss" in data
    assert b"terms/identity" in data
