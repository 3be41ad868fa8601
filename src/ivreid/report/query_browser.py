"""All queries of a trial: a histogram, the hardest as a table, and the place where the script lets one look through."""

from __future__ import annotations

from ivreid.report.html import Html, absent, el, join, table
from ivreid.report.identities import precision_histogram
from ivreid.report.inputs import AllQueries, ReportInput, ShownImage

LISTED = 60
"""Queries in the table that reads without a script."""


def query_section(report: ReportInput) -> Html:
    """The histogram, and the browser over every query."""
    if report.ranked is None or report.ranked.everyone is None:
        return absent(report.reason("ranked", "there are no test embeddings to rank"))
    everyone = report.ranked.everyone
    left = (
        f" {everyone.left_out:,} more are left out, evenly over all difficulties."
        if everyone.left_out
        else ""
    )
    lead = (
        f"{len(everyone.queries):,} valid queries of {report.ranked.title}, first trial: filter, sort, and choose one to "
        f"see its list.{left}"
    )
    return join(
        [
            el("p", lead, class_="lead"),
            el("div", precision_histogram(everyone), class_="pair"),
            el("div", _hardest(everyone), id="browser", data_title=report.ranked.title),
        ]
    )


def _hardest(everyone: AllQueries) -> Html:
    rows = []
    for place, query in enumerate(everyone.queries[:LISTED]):
        first = int(everyone.first_match[place])
        met = everyone.gallery[int(everyone.hits[place, 0])]
        values = [query.pid, f"{100 * everyone.average_precision[place]:.1f}", f"{first:,}"]
        rows.append([_name(query), *values, "–" if first == 1 else f"{met.pid}, {_name(met)}"])
    head = ["Query", "Identity", "AP", "First match", "Met instead"]
    caption = f"The {len(rows)} hardest queries; AP in percent"
    return table(head, rows, caption=caption, class_="plain tall")


def _name(image: ShownImage) -> str:
    return image.path or f"identity {image.pid}, camera {image.camid}"
