"""What some results carry besides their figures: intervals, breakdowns, verification. Shown where present."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ivreid.report.html import Html, el, figure, join, table
from ivreid.report.identities import camera_heat
from ivreid.report.results import FIGURES, percent
from ivreid.report.svg import Plot, Scale, legend

NONE = "–"
Results = Sequence[Mapping[str, Any]]
BROKEN_DOWN = (("rank1", "Rank-1"), ("mAP", "mAP"), ("mINP", "mINP"))
ROWS_OF = {
    "modalities": (
        "Across and within the modalities",
        "The first row is the protocol's own; the others search within one modality, where there is no gap.",
    ),
    "places": ("Indoors and outdoors", "Where queries and gallery images were taken."),
    "query_cameras": ("Query cameras", "Queries of one camera against the whole gallery."),
    "camera_pairs": ("Camera pairs", "Queries of one camera against the gallery images of one camera."),
    "hardest": ("Hardest identities", "The identities of lowest mAP over all trials, hardest first."),
}
"""The blocks of a breakdown, in the order shown: heading and reading."""
LOWEST = -4
"""Power of ten at which the ROC's axis starts."""
HEADINGS = {"query": "Query", "gallery": "Gallery", "camera": "Query camera", "pid": "Identity"}


def interval_table(results: Results, names: Sequence[str]) -> Html | None:
    """Bootstrap intervals of the figures, a row a result; None where no result has any."""
    found = [(name, r["intervals"]) for name, r in zip(names, results, strict=True) if r.get("intervals")]
    if not found:
        return None
    confidence = {f"{100 * one['confidence']:g}%" for _, intervals in found for one in intervals.values()}
    rows = [[name, *(_interval(intervals.get(key)) for key, _ in FIGURES)] for name, intervals in found]
    how = (
        "Percent, from drawing the query identities again (bootstrap): how far each figure may move with "
        "other people before the same cameras."
    )
    caption = f"Confidence intervals, {', '.join(sorted(confidence))}"
    head = ["Setting", *(label for _, label in FIGURES)]
    return join([table(head, rows, caption=caption, class_="plain"), el("p", how, class_="reading")])


def _interval(value: Mapping[str, float] | None) -> str:
    return NONE if value is None else f"{100 * float(value['low']):.1f} – {100 * float(value['high']):.1f}"


def breakdown_section(results: Results) -> Html | None:
    """Where the figures come from: cameras, places, modalities, people; None where no result says."""
    chosen = [(number, r) for number, r in enumerate(results, start=1) if r.get("breakdown")]
    if not chosen:
        return None
    lead = "Percent, over the queries of all trials together; the numbers of queries are per trial."
    parts = [_breakdown(number, result, folded=place > 0) for place, (number, result) in enumerate(chosen)]
    return join([el("p", lead, class_="lead"), *parts])


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
    return el("details", el("summary", name), body) if folded else join([el("h3", name), body])


def _block(rows: Sequence[Mapping[str, Any]], title: str) -> Html:
    if title == ROWS_OF["camera_pairs"][0]:
        return join(
            [
                el("h3", title),
                camera_heat(rows),
                el("details", el("summary", "As a table"), _rows_of(rows, title)),
            ]
        )
    return _rows_of(rows, title)


def _rows_of(rows: Sequence[Mapping[str, Any]], title: str) -> Html:
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
    return table(head, body, caption=title, class_="plain", name=title.lower().replace(" ", "-"))


def _count(value: Any) -> str:
    """Queries per trial; an average over trials need not be whole."""
    return NONE if value is None else f"{float(value):,.1f}".removesuffix(".0")


def _share(value: Any, *, bar: bool) -> Html | str:
    """A share of 1 in percent; with a bar, the eye finds the weak camera before it reads a digit."""
    if value is None or not math.isfinite(float(value)):
        return NONE
    if not bar:
        return percent(float(value))
    drawn = el("span", class_="bar", style=f"--share:{100 * float(value):.1f}%", aria_hidden="true")
    return join([drawn, percent(float(value))])


def verification_section(results: Results, names: Sequence[str]) -> Html | None:
    """Is this pair the same person? ROC, equal error rate, TPR at chosen FPR; None where no result says."""
    found = [
        (name, r["verification"]) for name, r in zip(names, results, strict=True) if r.get("verification")
    ]
    if not found:
        return None
    rates = sorted({rate for _, one in found for rate in one["tpr_at_fpr"]}, key=float)
    head = [
        "Setting",
        "Equal error rate",
        "Area under ROC",
        *(f"TPR at FPR {100 * float(r):g}%" for r in rates),
    ]
    rows = [
        [name, *map(_percent, (one["equal_error_rate"], one["area"], *map(one["tpr_at_fpr"].get, rates)))]
        for name, one in found
    ]
    lead = (
        "Is this pair the same person? One distance threshold answers for all pairs of the first trial. "
        "FPR is the share of different-person pairs accepted, TPR the share of same-person pairs "
        "accepted; at the equal error rate both kinds of error are equally frequent. All in percent."
    )
    figures = table(head, rows, class_="plain")
    return join([el("p", lead, class_="lead"), figures, el("div", _roc(found), class_="pair")])


def _percent(value: float | None) -> Html | str:
    return NONE if value is None else percent(value)


def _roc(found: Sequence[tuple[str, Mapping[str, Any]]]) -> Html:
    """ROC on a logarithmic FPR axis: a useful threshold lies where false alarms are rare."""
    ticks = tuple((float(e), f"{100 * 10.0**e:g}%") for e in range(LOWEST, 1))
    plot = Plot(
        Scale(LOWEST, 0, ticks, "False-positive rate"),
        Scale(0, 1, tuple((i / 5, f"{20 * i}%") for i in range(6)), "True-positive rate"),
    )
    for series, (_, verification) in enumerate(found):
        points = zip(verification["roc"]["fpr"], verification["roc"]["tpr"], strict=True)
        xs, ys = zip(*((math.log10(f), t) for f, t in points if f >= 10.0**LOWEST), strict=True)
        plot.line(xs, ys, series)
    entries = [(name, series, "line") for series, (name, _) in enumerate(found)]
    chart = join([plot.svg("ROC curves, false-positive rate on a logarithmic axis"), legend(entries)])
    how = "Further up and further left is better; each step to the left means ten times fewer false alarms."
    return figure(chart, f"ROC. {how}")
