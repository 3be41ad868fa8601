"""Figures by person, by pair of cameras, and how average precision is spread over the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ivreid.report.html import Html, el, figure, join, table
from ivreid.report.inputs import AllQueries
from ivreid.report.svg import Plot, linear

MOST_PEOPLE = 400
"""Rows of the table of people; of more, the hardest."""
BINS = 20


def identity_table(results: Sequence[Mapping[str, Any]]) -> Html | None:
    """Every query identity of the first result that holds outcomes per identity, hardest first."""
    found = next((r for r in results if isinstance(r.get("per_identity"), Mapping)), None)
    if found is None:
        return None
    block = found["per_identity"]
    pids, valid, sums = block["pids"], np.array(block["valid"], dtype=float), block["sums"]
    figures = {name: np.array(sums[name], dtype=float) / valid for name in ("rank1", "rank10", "mAP", "mINP")}
    order = np.lexsort((np.array(pids), figures["mAP"]))
    rows = [
        [
            pids[i],
            f"{valid[i]:,.1f}".removesuffix(".0"),
            *(f"{100 * figures[name][i]:.1f}" for name in figures),
        ]
        for i in order[:MOST_PEOPLE]
    ]
    head = ["Identity", "Queries", "Rank-1", "Rank-10", "mAP", "mINP"]
    more = f" The {MOST_PEOPLE} hardest of {len(pids):,} are listed." if len(pids) > MOST_PEOPLE else ""
    lead = f"Percent, averaged over trials, hardest first; queries per trial. {found['title']}.{more}"
    shown = table(head, rows, class_="plain tall sortable", name="identities")
    return join([el("p", lead, class_="lead"), shown])


def camera_heat(rows: Sequence[Mapping[str, Any]]) -> Html:
    """Rank-1 of every query camera against every gallery camera, as a map of shades with its figures in it."""
    queries, galleries = (sorted({int(row[side]) for row in rows}) for side in ("query", "gallery"))
    cells = {(int(row["query"]), int(row["gallery"])): row for row in rows}
    head = el(
        "tr", el("th", "Query", scope="col"), *(el("th", f"camera {g}", scope="col") for g in galleries)
    )
    body = []
    for q in queries:
        shades = (_shade(cells.get((q, g)), f"camera {q} asks camera {g}") for g in galleries)
        body.append(el("tr", el("th", f"camera {q}", scope="row"), *shades))
    chart = el("table", el("thead", head), el("tbody", *body), class_="heat", data_name="cameras")
    words = (
        "Rank-1 of queries by one camera (rows) where only one camera's pictures are the gallery (columns), percent; "
        "the darker the shade in print and by day, the more queries meet their person first."
    )
    return figure(el("div", chart, class_="scroll", tabindex=0), words)


def _shade(row: Mapping[str, Any] | None, words: str) -> Html:
    if row is None:
        return el("td", "–", class_="empty")
    share = float(row["rank1"])
    hint = f"{words}: Rank-1 {100 * share:.1f}%, mAP {100 * float(row['mAP']):.1f}%, {float(row['valid_queries']):,.0f} queries"
    deep = " deep" if share >= 0.5 else ""
    return el(
        "td", f"{100 * share:.1f}", class_=f"shade{deep}", style=f"--share:{100 * share:.1f}%", title=hint
    )


def precision_histogram(everyone: AllQueries) -> Html:
    """How many queries have which average precision."""
    edges = np.linspace(0, 100, BINS + 1)
    values = 100 * everyone.average_precision
    counts = np.histogram(values, edges)[0]
    x = linear((0, 100), "Average precision", unit="%", tight=True)
    plot = Plot(x, linear(counts, "Queries", zero=True))
    plot.steps(list(edges), [float(count) for count in counts], 0)
    plot.rule(float(values.mean()), f"mean {values.mean():.1f}%")
    low = int((values < 10).sum())
    words = (
        f"Average precision of {len(values):,} queries of the first trial. A heap at the left end is "
        f"people whom the model does not find at all: {low:,} queries lie below 10%."
    )
    return figure(plot.svg(f"Histogram of average precision, mean {values.mean():.1f}%"), words)
