"""From a run folder to its report, a page beside what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ivreid.errors import IvreidError, UsageError
from ivreid.io import check_output, write_text
from ivreid.report.inputs import Attention, RankedLists, ReportInput
from ivreid.report.page import make_page
from ivreid.report.ranked_lists import choose_lists
from ivreid.report.run_files import RunFiles, config_value, parse_config
from ivreid.report.run_pictures import picture_loader, protocol_again, root_of, value_range_of_run
from ivreid.types import Embeddings

PICTURES = "report_pictures"


def write_report(
    run_dir: Path | str,
    *,
    data: Path | str | None = None,
    full: bool = False,
    attention: Attention | None = None,
) -> Path:
    """Build the report of a run folder, or of a study's, and write it there.

    Args:
        run_dir: The run folder.
        data: The dataset's folder; the configuration's `data.root` when not given.
        full: Write the picture of every query and gallery image into the folder `report_pictures` beside the page;
            else the page holds as many small ones as keep it under 3 MB.
        attention: Says which regions of two pictures made them similar; see `ivreid.inference.explain_pairs`.

    Returns:
        The path of `report.html`.

    Raises:
        UsageError: `run_dir` is no folder, or holds nothing to report on.
        ConfigError, DataError: A file in it is damaged, or the page cannot be written.
    """
    run_dir = Path(run_dir)
    out = run_dir / "report.html"
    if run_dir.is_dir():
        check_output(out)
    files = RunFiles(run_dir)
    config_text = files.config_text()
    config = parse_config(config_text, run_dir / "config.yaml")
    results, metrics = files.results(), files.metrics()
    own = [result for result in results if not result.get("evaluation")]
    embeddings = files.embeddings(str(own[0]["protocol"]) if own else None)
    learning = {} if metrics else files.learning()
    if not (config_text or results or metrics or embeddings or learning):
        raise UsageError(
            f"{run_dir} holds no run: no config.yaml, metrics.jsonl, results.json or features.npz in it"
        )
    root = Path(data) if data is not None else root_of(config)
    page, shown = make_page(
        ReportInput(
            title=run_dir.resolve().name or str(run_dir),
            subtitle=_subtitle(config),
            results=results,
            metrics=metrics,
            config_text=config_text,
            environment=files.environment(),
            embeddings=embeddings,
            ranked=_ranked(embeddings, own, root, files.reasons),
            image_loader=picture_loader(root, files.reasons, value_range_of_run(config)),
            selection=config_value(config, "validation", "select"),
            thresholds=files.thresholds(),
            learning=learning,
            attention=attention,
            pictures=PICTURES if full else None,
            reasons=files.reasons,
        )
    )
    if full:
        shown.write_pictures(run_dir / PICTURES)
    write_text(out, page)
    return out


def _subtitle(config: Mapping[str, Any]) -> str:
    """Method, backbone, dataset, length of training: as far as the configuration says."""
    method, backbone = config_value(config, "method", "name"), config_value(config, "method", "backbone")
    dataset, epochs, seed = config_value(config, "data", "dataset"), config.get("epochs"), config.get("seed")
    steps = config.get("steps")
    length = f"{epochs} epochs" if epochs is not None else None
    words = [
        f"{method} with {backbone}" if method and backbone else method,
        f"trained on {dataset}" if dataset else None,
        f"{steps} steps" if steps is not None else length,
        f"seed {seed}" if seed is not None else None,
    ]
    return ", ".join(str(word) for word in words if word)


def _ranked(
    embeddings: Embeddings | None, results: list[dict[str, Any]], root: Path | None, reasons: dict[str, str]
) -> RankedLists | None:
    """Ranked lists of the first trial of the first result that is plain, or at least not re-ranked.

    Galleries with people absent or added are not listed. Where there are no lists, None and the reason.
    """
    own = [r for r in results if not r.get("rerank") and not r["options"].get("rule")]
    plain = next((r for r in own if not r.get("tta")), own[0] if own else None)
    if embeddings is None or plain is None:
        marked = "every result here is re-ranked or of another gallery; lists are drawn for plain ones"
        reasons["ranked"] = reasons.get("embeddings") or reasons.get("results") or marked
        return None
    try:
        protocol = protocol_again(plain, root)
        trial = protocol.trials(embeddings.images)[0]
        query, gallery = embeddings.take(trial.query), embeddings.take(trial.gallery)
        excluded = protocol.excluded(query.images, gallery.images)
        metric = str(plain["options"].get("metric", "cosine"))
        return choose_lists(query, gallery, excluded, title=str(plain["title"]), metric=metric)
    except IvreidError as error:
        reasons["ranked"] = f"the protocol cannot be run again on features.npz: {error}"
        return None
