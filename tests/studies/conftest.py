"""A configuration of a study, on a dataset that the stand-ins never open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ivreid.config import Config, make_config


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """`config(epochs=5, ...)`: a RegDB configuration in this test's folder, with sections changed."""

    def make(**changes: Any) -> Config:
        tree: dict[str, Any] = {
            "out": str(tmp_path / "out"),
            "epochs": 10,
            "data": {"dataset": "regdb", "root": str(tmp_path / "regdb")},
            "method": {"name": "iv-reid", "pretrained": None},
            "validation": {"every": 1, "metric": "mAP"},
            "evaluation": [{"direction": "infrared-to-visible"}, {"direction": "visible-to-infrared"}],
        }
        for key, value in changes.items():
            tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
        return make_config(tree)

    return make


@pytest.fixture(scope="session", autouse=True)
def _sqlite_without_waiting_for_the_disk() -> Iterator[None]:
    """No test here cuts the power, so a commit need not be on the platter."""
    try:
        import sqlalchemy
    except ImportError:  # it comes with Optuna
        yield
        return

    def quick(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", quick)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", quick)
