"""What some results carry besides their figures: intervals, breakdowns, verification. Shown where present."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ivreid.report.html import Html, el, figure, join, table
from ivreid.report.results import FIGURES, percent
from ivreid.report.svg import Plot, Scale, legend

Results = Sequence[Mapping[str, Any]]
BROKEN_DOWN = (("rank1", "Rank-1"), ("mAP", "mAP"), ("mINP", "mINP"))
ROWS_OF = {
    "modalities": (
        "Across and within the modalities",
        "Within a modality the model needs no bridge: what it loses beside that is the price of the gap.",
    ),
    "places": ("Indoors and outdoors", "Where queries and gallery images were taken."),
    "query_cameras": ("Query cameras", "Queries of one camera against the whole gallery."),
    "camera_pairs": ("Camera pairs", "Queries of one camera against the gallery images of one camera."),
    "hardest": ("Hardest identities", "The identities of lowest mAP over all trials, hardest first."),
}
"""The blocks of a breakdown, in the order shown: heading and reading."""
HEADINGS = {"query": "Query", "gallery": "Gallery", "camera": "Query camera", "pid": "Identity"}


def interval_table(results: Results) -> Html | None:
    """Bootstrap intervals of the figures, a row a result."""
    rows, confidence = [], 0.95
    for number, result in enumerate(results, start=1):
        intervals = result.get("intervals")
        if isinstance(intervals, Mapping):
            confidence = next(
                (float(i["confidence"]) for i in intervals.values() if "confidence" in i), confidence
            )
            rows.append([number, *(_interval(intervals.get(key)) for key, _ in FIGURES)])
    if not rows:
        return None
    caption = f"{100 * confidence:.0f}% confidence intervals"
    how = (
        "From drawing the query identities again (bootstrap): how far each figure may move with other "
        "people before the same cameras. The first column is the row of the table above."
    )
    return join([
        table(["Row", *(label for _, label in FIGURES)], rows, caption=caption, class_="plain"),
        el("p", how, class_="reading"),
    ])  # fmt: skip


def _interval(value: Any) -> Html | str:
    if not isinstance(value, Mapping):
        return "–"
    return f"{100 * float(value['low']):.1f} – {100 * float(value['high']):.1f}"


def breakdown_section(results: Results) -> Html | None:
    """Where the figures come from: cameras, places, modalities, people."""
    chosen = [(i, r) for i, r in enumerate(results, start=1) if isinstance(r.get("breakdown"), Mapping)]
    parts = [_breakdown(number, result, folded=place > 0) for place, (number, result) in enumerate(chosen)]
    return join(parts) if parts else None


def _breakdown(number: int, result: Mapping[str, Any], *, folded: bool) -> Html:
    """The tables of one result; those after the first are folded away."""
    tables = [
        el(
            "div",
            _block(result["breakdown"][key], title),
            el("p", words, class_="reading"),
            class_="block",
        )
        for key, (title, words) in ROWS_OF.items()
        if result["breakdown"].get(key)
    ]
    name = f"{number}. {result['title']}"
    body = el("div", *tables, class_="columns")
    return el("details", el("summary", name), body) if folded else join([el("p", name, class_="lead"), body])


def _block(rows: Sequence[Mapping[str, Any]], title: str) -> Html:
    keys = [key for key in HEADINGS if key in rows[0]]
    head = [*(HEADINGS[key] for key in keys), "Queries", *(label for _, label in BROKEN_DOWN)]
    body = [
        [
            *(row[key] for key in keys),
            _count(row.get("valid_queries")),
            *(_share(row.get(key), bar=key == "rank1") for key, _ in BROKEN_DOWN),
        ]
        for row in rows
    ]
    return table(head, body, caption=title, class_="plain")


def _count(value: Any) -> str:
    """Queries per trial; an average over trials need not be whole."""
    return "–" if value is None else f"{float(value):,.1f}".removesuffix(".0")


def _share(value: Any, *, bar: bool) -> Html | str:
    """A share of 1 in percent; with a bar, the eye finds the weak camera before it reads a digit."""
    if value is None or not math.isfinite(float(value)):
        return "–"
    if not bar:
        return percent(float(value))
    drawn = el("span", class_="bar", style=f"--share:{100 * float(value):.1f}%", aria_hidden="true")
    return join([drawn, percent(float(value))])


def verification_section(results: Results) -> Html | None:
    """Is this pair the same person? ROC, equal error rate, TPR at chosen FPR."""
    chosen = [
        (i, r["verification"])
        for i, r in enumerate(results, start=1)
        if isinstance(r.get("verification"), Mapping)
    ]
    if not chosen:
        return None
    rates = sorted({float(f) for _, v in chosen for f in _tpr_at(v)})
    head = ["Row", "Equal error rate", "Area under ROC", *(f"TPR at FPR {100 * rate:g}%" for rate in rates)]
    rows = [
        [
            number,
            _figure(v, "equal_error_rate", "eer"),
            _figure(v, "area", "auc"),
            *(_figure(_tpr_at(v), rate) for rate in rates),
        ]
        for number, v in chosen
    ]
    how = (
        "One threshold for all pairs: is this the same person? FPR is the share of different-person pairs "
        "accepted, TPR the share of same-person pairs accepted; at the equal error rate both kinds of "
        "error are equally frequent. The first column is the row of the results table."
    )
    drawn = _roc(chosen)
    return join([table(head, rows, class_="plain"), el("p", how, class_="reading"), drawn])


def _tpr_at(verification: Mapping[str, Any]) -> dict[float, Any]:
    found = verification.get("tpr_at_fpr") or {}
    return {float(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def _figure(values: Mapping[Any, Any], *keys: Any) -> Html | str:
    found = next((values[key] for key in keys if values.get(key) is not None), None)
    return "–" if found is None else percent(float(found))


def _roc(chosen: Sequence[tuple[int, Mapping[str, Any]]]) -> Html | None:
    """ROC on a logarithmic FPR axis: a useful threshold lies where false alarms are rare."""
    lowest = -4
    ticks = tuple((float(e), f"{100 * 10.0**e:g}%") for e in range(lowest, 1))
    plot = Plot(
        Scale(lowest, 0, ticks, "False-positive rate"),
        Scale(0, 1, tuple((i / 5, f"{20 * i}%") for i in range(6)), "True-positive rate"),
    )
    entries: list[tuple[str, int | None, str]] = []
    for series, (number, verification) in enumerate(chosen):
        curve = verification.get("roc")
        if isinstance(curve, Mapping) and curve.get("fpr"):
            points = [
                (math.log10(f), t)
                for f, t in zip(curve["fpr"], curve["tpr"], strict=True)
                if f >= 10.0**lowest
            ]
            plot.line([x for x, _ in points], [y for _, y in points], series)
            entries.append((f"row {number}", series, "line"))
    if not entries:
        return None
    chart = join([plot.svg("ROC curves, false-positive rate on a logarithmic axis"), legend(entries)])
    how = "Further up and further left is better; each step to the left means ten times fewer false alarms."
    return el("div", figure(chart, f"ROC. {how}"), class_="pair")
