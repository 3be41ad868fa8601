"""The run folder: what lies where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run.

    Attributes:
        path: The folder itself.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, git revision, device and dataset fingerprint, JSON."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """One JSON line a step and a validation."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def last(self) -> Path:
        """Training state to resume from."""
        return self._checkpoints / "last.safetensors"

    @property
    def best(self) -> Path:
        """Training state of the best validation so far."""
        return self._checkpoints / "best.safetensors"

    @property
    def weights(self) -> Path:
        """The weights to use, with their card."""
        return self.path / "weights.safetensors"

    @property
    def features(self) -> Path:
        """Test embeddings, written by an evaluation."""
        return self.path / "features.npz"

    @property
    def flipped_features(self) -> Path:
        """Test embeddings averaged with those of the mirror images."""
        return self.path / "features-flip.npz"

    @property
    def results(self) -> Path:
        """Figures, written by an evaluation."""
        return self.path / "results.json"

    def evaluation(self, name: str) -> RunFolder:
        """Where features and results on images that are not the run's own lie, under a name."""
        return RunFolder(self.path / "evaluations" / name)

    def evaluations(self) -> list[RunFolder]:
        """Every such evaluation, by name."""
        return [RunFolder(file.parent) for file in sorted(self.path.glob("evaluations/*/results.json"))]

    def epoch(self, number: int) -> Path:
        """Training state kept after `number` epochs."""
        return self._checkpoints / f"epoch-{number:04d}.safetensors"

    def states(self) -> list[Path]:
        """Every training state here."""
        return sorted(self._checkpoints.glob("*.safetensors"))

    def holds_a_run(self) -> bool:
        """Whether something was trained here before: there are weights, or a training state."""
        return self.weights.exists() or bool(self.states())

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"
