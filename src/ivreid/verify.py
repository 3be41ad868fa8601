"""Whether files on disk hold what was written: runs, weights, checkpoints, features, results, image caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ivreid.data.cache_check import check_cache, find_caches
from ivreid.datasets.features import read_features
from ivreid.errors import IvreidError, UsageError
from ivreid.evaluation.run_folder import RunFolder
from ivreid.models import read_weights
from ivreid.models.exported import read_exported
from ivreid.models.sealed import read_safetensors
from ivreid.protocols import read_results
from ivreid.reading import read_json, read_json_lines
from ivreid.training.checkpoint import load_state
from ivreid.types import Progress
from ivreid.yaml_text import read_yaml


@dataclass(frozen=True)
class FileReport:
    """What was found in one file.

    Attributes:
        path: The file.
        what: Its kind, e.g. "weights".
        proof: How it was proved, e.g. "SHA-256 of text and tensors".
        problem: What is wrong with it; empty where nothing is.
    """

    path: Path
    what: str
    proof: str
    problem: str = ""


Reader = Callable[[Path], object]
_SEAL, _FORM = "SHA-256 of text and tensors", "read whole"
_WEIGHTS = ("weights", _SEAL, read_weights)
_STATE = ("checkpoint", _SEAL, load_state)
_KINDS: dict[str, tuple[str, str, Reader]] = {
    ".onnx": ("exported model", "SHA-256 of card and graph", read_exported),
    ".npz": ("features", "CRC-32 of every array", lambda path: read_features(path, protocol="sysu-mm01")),
    ".json": ("JSON", _FORM, read_json),
    ".jsonl": ("log", _FORM, read_json_lines),
    ".yaml": ("configuration", _FORM, read_yaml),
}


def verify_files(path: Path | str, *, progress: Progress | None = None) -> list[FileReport]:
    """Read what lies on disk whole, and compare it with the digests and checksums it was written with.

    Args:
        path: A run folder, a folder of image caches, or a file of either.
        progress: Called with (rows read, rows in all) of an image cache.

    Raises:
        UsageError: There is nothing of ours at `path`.
    """
    path = Path(path)
    found = list(_reports(path, progress))
    if not found:
        raise UsageError(f"{path} is no run folder, image cache, nor a file that ivreid writes")
    return found


def _reports(path: Path, progress: Progress | None) -> Iterator[FileReport]:
    if path.is_dir():
        run = RunFolder(path)
        for file in (run.weights, *run.states(), run.features, run.metrics, run.config, run.environment):
            if file.exists():
                yield from _reports(file, progress)
        if run.results.exists():
            yield _report(run.results, "results", _FORM, read_results)
        for cache in find_caches(path):
            yield from _reports(cache, progress)
    elif path.suffix == ".safetensors":
        if path.name.startswith("images-"):
            report = check_cache(path, progress=progress)
            yield FileReport(
                path, "image cache", "CRC-32 of every row, state of every picture", report.problem
            )
        else:
            yield _report(path, *(_STATE if path.parent.name == "checkpoints" else _tensors(path)))
    elif path.is_file() and path.suffix in _KINDS:
        yield _report(path, *_KINDS[path.suffix])


def _tensors(path: Path) -> tuple[str, str, Reader]:
    """How a safetensors file is proved: ours by their digests, any other by its form."""
    try:
        text = read_safetensors(path)[1].metadata.get("ivreid", "")
    except IvreidError:
        return _WEIGHTS
    if not text:
        return "tensors", _FORM, read_safetensors
    return _STATE if '"training-state"' in text else _WEIGHTS


def _report(path: Path, what: str, proof: str, read: Reader) -> FileReport:
    try:
        read(path)
    except IvreidError as error:
        return FileReport(path, what, proof, str(error))
    return FileReport(path, what, proof)
