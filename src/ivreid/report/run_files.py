"""The files of a run folder that a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivreid.analysis.named_calibrations import card_calibrations
from ivreid.datasets.features import read_features
from ivreid.errors import ConfigError, IvreidError, UsageError
from ivreid.protocols import read_results
from ivreid.reading import parse_json, read_json, read_json_lines, read_text
from ivreid.types import Embeddings
from ivreid.yaml_text import parse_yaml

MAX_HEAD = 64 << 20


@dataclass
class RunFiles:
    """The files of a run folder; a missing one is no error, but its reason is kept.

    Attributes:
        folder: The run folder.
        reasons: Why a part of the report cannot be shown, by the part's name.

    Raises:
        UsageError: No such folder.
    """

    folder: Path
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder; give the RUN_DIR that `ivreid train` wrote")

    def config_text(self) -> str:
        """The resolved configuration as written, or nothing."""
        if self._missing("config.yaml", "config", "`ivreid train` writes it"):
            return ""
        return read_text(self.folder / "config.yaml")

    def environment(self) -> dict[str, Any]:
        """Versions, revision and fingerprints."""
        if self._missing("environment.json", "environment", "`ivreid train` writes it"):
            return {}
        found = read_json(self.folder / "environment.json")
        return found if isinstance(found, dict) else {}

    def results(self) -> list[dict[str, Any]]:
        """Every result, as JSON values: first the run's own, then those on other images with their `evaluation`."""
        found = []
        if not self._missing("results.json", "results", "`ivreid evaluate` writes it"):
            found = [result.to_json() for result in read_results(self.folder / "results.json")]
        for file in sorted(self.folder.glob("evaluations/*/results.json")):
            name = {"evaluation": file.parent.name}
            found += [result.to_json() | name for result in read_results(file)]
        return found

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of the training log."""
        if self._missing("metrics.jsonl", "metrics", "`ivreid train` writes it"):
            return []
        rows = read_json_lines(self.folder / "metrics.jsonl")
        if not rows:
            self.reasons["metrics"] = "metrics.jsonl is empty: training has not logged a step yet"
        return rows

    def embeddings(self, protocol: str | None) -> Embeddings | None:
        """Test embeddings; the protocol says which cameras are infrared where the file does not."""
        if self._missing("features.npz", "embeddings", "`ivreid evaluate` writes it"):
            return None
        return read_features(self.folder / "features.npz", protocol=protocol)

    def learning(self) -> dict[str, list[dict[str, Any]]]:
        """The logs of a study's runs, which lie in folders below, by their names; those without a log are left out."""
        logs = sorted(self.folder.glob("*/metrics.jsonl"))
        return {log.parent.name: rows for log in logs if (rows := read_json_lines(log))}

    def thresholds(self) -> dict[str, float]:
        """The distances that the card of the run's weights calls one person's, by name; none where it has none."""
        try:
            calibrations = card_calibrations(_card(self.folder / "weights.safetensors"))
            return {name: float(block["threshold"]["estimate"]) for name, block in calibrations.items()}
        except (IvreidError, OSError, LookupError, TypeError, ValueError):
            return {}  # the verbs that use thresholds say what is wrong with them

    def _missing(self, name: str, part: str, remedy: str) -> bool:
        if (self.folder / name).is_file():
            return False
        self.reasons[part] = f"the run folder has no {name}; {remedy}"
        return True


def _card(weights: Path) -> dict[str, Any]:
    """The card in a weights file; its tensors are not read, and nothing is proved."""
    with weights.open("rb") as file:
        length = min(int.from_bytes(file.read(8), "little"), MAX_HEAD)
        head = parse_json(file.read(length).decode("utf-8"), str(weights))
    found = parse_json(head["__metadata__"]["ivreid"], str(weights))
    return found if isinstance(found, dict) else {}


def parse_config(text: str, path: Path) -> dict[str, Any]:
    """A configuration as it was written, whichever version of the program wrote it: keys are not checked.

    Raises:
        ConfigError: Not a YAML mapping.
    """
    value = parse_yaml(text, str(path)) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, it holds {type(value).__name__}")
    return value


def config_value(config: Mapping[str, Any], *keys: str) -> Any:
    """The value that lies under these keys, one below the other; None where there is none."""
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
