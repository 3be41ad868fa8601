"""A model card: the page that weights need where others find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivreid.errors import UsageError
from ivreid.evaluation.position import unfinished_notes
from ivreid.evaluation.run_folder import RunFolder
from ivreid.inference import weights_file
from ivreid.io import write_text
from ivreid.methods import get_method
from ivreid.models import read_card
from ivreid.protocols import Result, read_results

FIGURES = {
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "rank20": "Rank-20",
    "mAP": "mAP",
    "mINP": "mINP",
}


def write_model_card(
    path: Path | str, out: Path | str | None = None, *, licence: str = "other", overwrite: bool = False
) -> Path:
    """Write a model card in Markdown, as a page of weights needs it: data, protocol, figures, licence, limits.

    Args:
        path: A run folder or a weights file.
        out: The file to write; README.md beside the weights where not given.
        licence: An SPDX identifier, e.g. "mit"; weights inherit the terms of the images they learned from.
        overwrite: Whether to replace a file that is there.

    Returns:
        The file written.

    Raises:
        UsageError: A file is in the way.
        CheckpointError: No weights there.
    """
    weights = weights_file(path)
    target = Path(out) if out is not None else weights.parent / "README.md"
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already; name another file with --out, or say --overwrite")
    found: dict[str, list[Result]] = {}
    if Path(path).is_dir():
        run = RunFolder(Path(path))
        own = {"": read_results(run.results)} if run.results.is_file() else {}
        found = own | {one.path.name: read_results(one.results) for one in run.evaluations()}
    text = card_text(read_card(weights), found, licence, notes=unfinished_notes(Path(path)))
    write_text(target, text)
    return target


def card_text(
    card: Mapping[str, Any],
    results: Mapping[str, Sequence[Result]],
    licence: str,
    *,
    notes: Sequence[str] = (),
) -> str:
    """The Markdown text of a model card.

    Args:
        card: Of the weights.
        results: By the name of the evaluation, "" for the weights' own dataset.
        licence: An SPDX identifier.
        notes: What else a reader must know.
    """
    method, data = str(card.get("method")), card.get("dataset") or {}
    kind = get_method(method)
    size = " x ".join(str(side) for side in (card.get("preprocessing") or {}).get("size", []))
    selection = card.get("selection") or {}
    lines = [
        "---",
        f"license: {licence}",
        "library_name: ivreid",
        "pipeline_tag: image-feature-extraction",
        "tags: [person-re-identification, visible-infrared, cross-modality]",
        "---",
        "",
        f"# {method}, trained on {data.get('name', 'unknown images')}",
        "",
        f"Embeds pictures of people so that the same person is near across visible and infrared cameras. {kind.citation}.",
        "",
        "```python",
        "import ivreid",
        "",
        'model = ivreid.load("hf://ORG/NAME")  # or the weights file',
        'queries = model.embed(infrared_photos, modality="infrared")',
        "```",
        "",
        "## Data",
        "",
        f"- dataset: {data.get('name', 'unknown')}, fingerprint {data.get('fingerprint', 'unknown')}"
        + (f", trial {data['trial']}" if data.get("trial") else "")
        + (", SYNTHETIC people, drawn by ivreid" if data.get("synthetic") else ""),
        f"- {len(card.get('train_pids') or [])} training identities; images of {size} (height x width)",
        f"- weights selected on: {selection.get('on', 'unknown')}",
        "",
        "## Figures",
        "",
        *_figures(results),
        *[f"- {note}" for note in notes],
        "",
        "## Licence and limits",
        "",
        f"- {card.get('licence', 'licence not stated')}",
        "- Figures hold for the protocol named beside them, and for no other cameras, places or people.",
        "- It finds people across cameras and can be used to follow them. Use it where that is lawful, with a stated purpose, "
        "and let a person decide what follows from a match.",
        "- Errors are not spread evenly over people, clothes and cameras; measure on your own before use.",
        "",
        f"Made with ivreid {(card.get('versions') or {}).get('ivreid', '')}, {card.get('created', 'date unknown')}.",
    ]
    return "\n".join(lines) + "\n"


def _figures(results: Mapping[str, Sequence[Result]]) -> list[str]:
    if not any(results.values()):
        return ["None measured yet: `ivreid evaluate RUN_DIR`, then write the card again."]
    lines = ["| protocol | " + " | ".join(FIGURES.values()) + " |", "|---|" + "--:|" * len(FIGURES)]
    for name, one in ((name, one) for name, found in results.items() for one in found):
        cells = [f"{100 * one.mean[key]:.1f} ± {100 * one.std[key]:.1f}" for key in FIGURES]
        words = (one.rerank, one.tta, one.synthetic and "**synthetic people**", name and f"images: {name}")
        marks = "".join(f", {mark}" for mark in words if mark)
        lines.append(f"| {one.title}{marks} | " + " | ".join(cells) + " |")
    notes = dict.fromkeys(note for found in results.values() for one in found for note in one.notes)
    return ["Percent, mean ± standard deviation over trials.", "", *lines, *[f"- {note}" for note in notes]]
