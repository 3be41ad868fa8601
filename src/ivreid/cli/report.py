"""`ivreid report`: gather what a run folder holds and write its HTML page beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivreid.errors import ConfigError, DataError, IvreidError, UsageError
from ivreid.io import read_image, write_text
from ivreid.reading import read_json, read_json_lines, read_text

if TYPE_CHECKING:
    from PIL import Image

    from ivreid.protocols import Protocol
    from ivreid.report import ImageLoader, RankedLists
    from ivreid.types import Embeddings


def run(
    run_dir: Annotated[
        Path,
        typer.Argument(
            help="A run folder, as `ivreid train` and `ivreid evaluate` leave it", metavar="RUN_DIR"
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The dataset's folder, where it has moved since training", metavar="ROOT"
        ),
    ] = None,
) -> None:
    """Write RUN_DIR/report.html: results, curves, ranked lists with pictures, failures, distances, settings.

    The page carries everything inside itself: it opens offline and can be mailed. What the run does not hold
    (no evaluation yet, images not on this machine) is left out with a sentence that says why.
    """
    typer.echo(write_report(run_dir, data=data))


def write_report(run_dir: Path, *, data: Path | None = None) -> Path:
    """Build the report of a run folder and write it there.

    Args:
        run_dir: The run folder.
        data: The dataset's folder; the configuration's `data.root` when not given.

    Returns:
        The path of `report.html`.

    Raises:
        UsageError: `run_dir` is no folder, or holds nothing to report on.
        DataError: A file in it is damaged, or the page cannot be written.
    """
    from ivreid.report import ReportInput, build_report

    run_dir = Path(run_dir)
    parts = _Parts(run_dir)
    config_text = parts.text("config.yaml")
    config = _config(config_text, run_dir / "config.yaml")
    results = parts.results()
    metrics = parts.metrics()
    embeddings = parts.embeddings(str(results[0]["protocol"]) if results else None)
    if not (config_text or results or metrics or embeddings):
        raise UsageError(
            f"{run_dir} holds no run: no config.yaml, metrics.jsonl, results.json or features.npz in it"
        )
    root = data or _root(config)
    environment = parts.json("environment.json")
    page = build_report(
        ReportInput(
            title=run_dir.resolve().name or str(run_dir),
            subtitle=_subtitle(config),
            results=results,
            metrics=metrics,
            config_text=config_text,
            environment=environment if isinstance(environment, dict) else {},
            embeddings=embeddings,
            ranked=_ranked(embeddings, results, root, parts.reasons),
            image_loader=_loader(root, parts.reasons),
            selection=_get(config, "validation", "select"),
            reasons=parts.reasons,
        )
    )
    out = run_dir / "report.html"
    write_text(out, page)
    return out


@dataclass
class _Parts:
    """The files of a run folder; a missing one is no error, but its reason is kept."""

    folder: Path
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder} is not a folder; give the RUN_DIR that `ivreid train` wrote")

    def _missing(self, name: str, part: str, remedy: str) -> bool:
        if (self.folder / name).is_file():
            return False
        self.reasons[part] = f"the run folder has no {name}; {remedy}"
        return True

    def text(self, name: str) -> str:
        if self._missing(name, "config", "`ivreid train` writes it"):
            return ""
        return read_text(self.folder / name)

    def json(self, name: str) -> Any:
        return (
            {}
            if self._missing(name, "environment", "`ivreid train` writes it")
            else read_json(self.folder / name)
        )

    def results(self) -> list[dict[str, Any]]:
        if self._missing("results.json", "results", "`ivreid evaluate` writes it"):
            return []
        from ivreid.protocols import read_results

        return [result.to_json() for result in read_results(self.folder / "results.json")]

    def metrics(self) -> list[dict[str, Any]]:
        if self._missing("metrics.jsonl", "metrics", "`ivreid train` writes it"):
            return []
        rows = read_json_lines(self.folder / "metrics.jsonl")
        if not rows:
            self.reasons["metrics"] = "metrics.jsonl is empty: training has not logged a step yet"
        return rows

    def embeddings(self, protocol: str | None) -> Embeddings | None:
        if self._missing("features.npz", "embeddings", "`ivreid evaluate` writes it"):
            return None
        from ivreid.datasets.features import read_features

        return read_features(self.folder / "features.npz", protocol=protocol)


def _subtitle(config: Mapping[str, Any]) -> str:
    """Method, backbone, dataset, length of training: as far as the configuration says."""
    method, backbone = _get(config, "method", "name"), _get(config, "method", "backbone")
    dataset, epochs, seed = _get(config, "data", "dataset"), config.get("epochs"), config.get("seed")
    words = [
        f"{method} with {backbone}" if method and backbone else method,
        f"trained on {dataset}" if dataset else None,
        f"{epochs} epochs" if epochs is not None else None,
        f"seed {seed}" if seed is not None else None,
    ]
    return ", ".join(str(word) for word in words if word)


def _config(text: str, path: Path) -> dict[str, Any]:
    from ivreid.yaml_text import parse_yaml

    value = parse_yaml(text, str(path)) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, it holds {type(value).__name__}")
    return value


def _get(config: Mapping[str, Any], *keys: str) -> Any:
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _root(config: Mapping[str, Any]) -> Path | None:
    root = _get(config, "data", "root")
    return Path(root) if isinstance(root, str) and root else None


def _loader(root: Path | None, reasons: dict[str, str]) -> ImageLoader | None:
    """Opens pictures below the dataset's folder; without one, None and the reason."""
    if root is None:
        reasons["images"] = (
            "the configuration names no dataset folder (`data.root`); give it with --data ROOT"
        )
        return None
    if not root.exists():
        reasons["images"] = f"the dataset folder {root} is not on this machine; give it with --data ROOT"
        return None
    inside = (root.parent if root.is_file() else root).resolve()  # a CSV's paths start from its folder

    def load(path: str) -> Image.Image:
        # a features file may come from anywhere: its paths must not lead out of the dataset
        if not (inside / path).resolve().is_relative_to(inside):
            raise DataError(f"{path} leads out of the dataset folder {root}")
        return read_image(inside / path)

    return load


def _ranked(
    embeddings: Embeddings | None, results: list[dict[str, Any]], root: Path | None, reasons: dict[str, str]
) -> RankedLists | None:
    """Ranked lists of the first plain result's first trial; where they cannot be had, None and the reason."""
    from ivreid.report import choose_lists

    plain = next((r for r in results if not r.get("rerank") and not r.get("tta")), None)
    if embeddings is None or plain is None:
        marked = "every result here is re-ranked or augmented; lists are drawn for plain ones"
        reasons["ranked"] = reasons.get("embeddings") or reasons.get("results") or marked
        return None
    try:
        protocol = _protocol(plain, root)
        trial = protocol.trials(embeddings.images)[0]
        query, gallery = embeddings.take(trial.query), embeddings.take(trial.gallery)
        excluded = protocol.excluded(query.images, gallery.images)
        metric = str(plain["options"].get("metric", "cosine"))
        return choose_lists(query, gallery, excluded, title=str(plain["title"]), metric=metric)
    except IvreidError as error:
        reasons["ranked"] = f"the protocol cannot be run again on features.npz: {error}"
        return None


def _protocol(result: Mapping[str, Any], root: Path | None) -> Protocol:
    """The protocol a result came from, made again from its options."""
    from ivreid.protocols import make_protocol

    known = ("mode", "shots", "draw", "direction", "cmc", "trial")
    options = {key: result["options"][key] for key in known if result["options"].get(key) is not None}
    if options.get("draw") == "official" and root is not None:
        options["permutations"] = root / "exp" / "rand_perm_cam.mat"
    return make_protocol(str(result["protocol"]), **options)
