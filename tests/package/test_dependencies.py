"""What the package imports is what it requires, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import ivreid
from ivreid.errors import UsageError
from ivreid.studies.optuna_store import require_optuna

ROOT = Path(__file__).parents[2]
MODULES = {
    "faiss-cpu": "faiss",
    "mlflow-skinny": "mlflow",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "huggingface-hub": "huggingface_hub",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
}
"""Modules whose distribution has another name."""
DEVELOPERS = ("dev", "docs", "browser", "postgres-test")
"""Extras for who works on the project; the package imports nothing of them."""


def imported() -> set[str]:
    found = set()
    for path in Path(ivreid.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return {name for name in found if name not in sys.stdlib_module_names and name != "ivreid"}


def required() -> dict[str, set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {extra: {re.match(r"[\w-]+", one)[0] for one in many} for extra, many in lists.items()}  # type: ignore[index]
    return {extra: {MODULES.get(name, name) for name in many} for extra, many in names.items()}


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")
def test_every_import_is_required_and_every_requirement_imported() -> None:
    lists = {extra: names for extra, names in required().items() if extra not in DEVELOPERS}
    everything = set().union(*lists.values())
    brought = {"huggingface_hub", "click", "starlette"}  # by timm, typer and fastapi
    behind = {
        "alembic",
        "onnxscript",
        "python_multipart",
    }  # of mlflow's database, torch's export, fastapi's forms
    assert imported() - everything <= brought
    assert lists[""] <= imported()
    assert everything - behind <= imported()


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("optuna", "matplotlib"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            with pytest.raises(UsageError, match=rf"{name} is not installed: pip install 'ivreid\[tune\]'"):
                require_optuna()
