"""The page: sections in the order a reader asks, each with its figure or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ivreid.report import plots
from ivreid.report.attention import attention_section
from ivreid.report.document import document
from ivreid.report.for_the_paper import paper_section
from ivreid.report.html import Html, absent, el, join, table
from ivreid.report.identities import identity_table
from ivreid.report.inputs import ReportInput
from ivreid.report.page_data import PageData
from ivreid.report.pictures import KEY, Pictures, ranked_lists
from ivreid.report.query_browser import query_section
from ivreid.report.results import FIGURES, is_plain, marks, results_table, trial_tables
from ivreid.report.statistics import breakdown_section, interval_table, verification_section
from ivreid.report.training_curves import learning_figures, training_figures


def build_report(report: ReportInput) -> str:
    """One self-contained HTML page. It loads nothing; its one script is inside it, and without it all still reads.

    Args:
        report: What to show. Missing parts are replaced by a sentence with the reason.

    Returns:
        The page's text, UTF-8.
    """
    return make_page(report)[0]


def make_page(report: ReportInput) -> tuple[str, PageData]:
    """The page, and the images that its script may show; with `report.pictures` their files go into that folder."""
    pictures = Pictures(report.image_loader)
    data = PageData(pictures, report.pictures)
    if report.ranked is not None and report.ranked.everyone is not None:
        data.add_queries(report.ranked.everyone)
    names = [f"{i}. {_short(result)}" for i, result in enumerate(report.results, start=1)]
    results, source = report.results, "results.json"
    sections = [
        ("results", "Results", _guarded(source, _results, report, names)),
        ("paper", "For the paper", _guarded(source, paper_section, report)),
        ("curves", "Ranking curves", _guarded(source, _curves, report, names)),
        ("ranked", "Ranked lists", _ranked(report, pictures)),
        ("failures", "Worst failures", _failures(report, pictures)),
        ("attention", "What decided", attention_section(report, pictures)),
        ("queries", "All queries", query_section(report)),
        ("breakdown", "Breakdown", _guarded(source, breakdown_section, results)),
        ("people", "People", _guarded(source, identity_table, results)),
        ("distances", "Distances", _distances(report)),
        ("verification", "Verification", _guarded(source, verification_section, results, names)),
        ("map", "Embedding map", _map(report, data)),
        ("training", "Training", _guarded("metrics.jsonl", _training, report)),
        ("configuration", "Configuration", _configuration(report)),
    ]
    return document(report.title, _header(report), sections, data), data


def _guarded(source: str, build: Callable[..., Html | None], *values: Any) -> Html | None:
    """What `build` makes, or the reason: blocks of JSON come from files that anyone may have edited."""
    try:
        return build(*values)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return absent(f"{source} does not hold what this part needs ({type(error).__name__}: {error})")


def _header(report: ReportInput) -> Html:
    parts = [el("p", "ivreid report", class_="kicker"), el("h1", report.title)]
    if report.subtitle:
        parts.append(el("p", report.subtitle, class_="subtitle"))
    if report.results:
        first = min(report.results, key=lambda r: (bool(r.get("rerank")), not is_plain(r)))
        several = len(first["trials"]) > 1
        cards = [
            el("div", el("dt", label), el("dd", _big(first, key, several)))
            for key, label in FIGURES
            if key in ("rank1", "mAP", "mINP")
        ]
        badge = marks(first)
        parts += [
            el("dl", *cards, class_="cards"),
            el("p", first["title"], " " if badge else None, badge, class_="setting"),
        ]
    return el("header", *parts)


def _big(result: Mapping[str, Any], key: str, several: bool) -> Html:
    spread = el("small", f" ± {100 * result['std'][key]:.1f}") if several else None
    return join([f"{100 * result['mean'][key]:.1f}", el("small", "%", class_="unit"), spread])


def _results(report: ReportInput, names: Sequence[str]) -> Html:
    if not report.results:
        return absent(report.reason("results", "the run holds no results.json; evaluate it first"))
    return join(
        [results_table(report.results), interval_table(report.results, names), trial_tables(report.results)]
    )


def _short(result: Mapping[str, Any]) -> str:
    """A legend's name for a result: its varying options; the table has the whole title."""
    options = result["options"]
    words = [str(options[key]) for key in ("mode", "direction") if options.get(key)]
    if options.get("shots"):
        words.append(f"{options['shots']}-shot")
    extra = [str(result[key]) for key in ("rerank", "tta") if result.get(key)]
    return " ".join(words or [str(result["protocol"])]) + "".join(f" + {word}" for word in extra)


def _curves(report: ReportInput, names: Sequence[str]) -> Html:
    if not report.results:
        return absent(report.reason("results", "the run holds no results.json; evaluate it first"))
    if any(len(result["trials"]) > 1 for result in report.results):
        spread = plots.trial_spread(report.results, names)
    else:
        spread = absent("the spread over trials, because every result here has one trial only")
    return el("div", plots.cmc_curves(report.results, names), spread, class_="pair")


def _ranked(report: ReportInput, pictures: Pictures) -> Html:
    if report.ranked is None:
        return absent(report.reason("ranked", "there are no test embeddings to rank"))
    ranked = report.ranked
    intro = (
        f"{len(ranked.sample)} of {ranked.queries:,} valid queries, spread evenly from the easiest to the "
        f"hardest by average precision: a fair sample, not a selection. {ranked.title}, first trial."
    )
    lists = ranked_lists(pictures, ranked.sample, report.reasons.get("images"))
    return join([el("p", intro, class_="lead"), KEY, lists, _fine_print()])


def _fine_print() -> Html:
    words = (
        "Under each picture: its rank, identity, camera (c) and distance to the query. Where no true "
        "match is among the first ten, the first one stands apart at the end."
    )
    return el("p", words, class_="reading")


def _failures(report: ReportInput, pictures: Pictures) -> Html:
    if report.ranked is None:
        return absent(report.reason("ranked", "there are no test embeddings to rank"))
    ranked = report.ranked
    if not ranked.worst:
        return el(
            "p", f"None: all {ranked.queries:,} valid queries meet their person at rank 1.", class_="lead"
        )
    share = 100 * ranked.missed / ranked.queries
    intro = (
        f"{ranked.missed:,} of {ranked.queries:,} valid queries ({share:.1f}%) meet another person first. "
        "These have the lowest average precision, one query an identity. Look for what they share: "
        "occlusion, a neighbour in the crop, a label that may be wrong."
    )
    return join(
        [
            el("p", intro, class_="lead"),
            KEY,
            ranked_lists(pictures, ranked.worst, report.reasons.get("images")),
        ]
    )


def _distances(report: ReportInput) -> Html:
    if report.embeddings is None:
        return absent(report.reason("embeddings", "the run holds no features.npz; evaluate it first"))
    drawn = plots.distance_histograms(report.embeddings, report.thresholds)
    if not drawn:
        return absent(
            "the test embeddings hold no pair of one person to compare with pairs of different people"
        )
    lead = (
        "Cosine distances of image pairs on one scale. The less the two shapes overlap, the better a "
        "single threshold can tell people apart. Within a modality, pairs from one camera count too, so "
        "that panel is the easier one."
    )
    return join([el("p", lead, class_="lead"), el("div", *drawn, class_="pair")])


def _map(report: ReportInput, data: PageData) -> Html:
    if report.embeddings is None:
        return absent(report.reason("embeddings", "the run holds no features.npz; evaluate it first"))
    if len(report.embeddings) < 3:
        return absent("a map needs at least three test images")
    lead = (
        "Principal component analysis of the L2-normalised test embeddings: a linear shadow, so distances "
        "in it are real but partial. The axes say how much of the variance it keeps; what overlaps here "
        "may lie apart in the full space. With a script, pointing at a mark shows its picture; so do the arrow keys "
        "once a map has the focus."
    )
    maps = (plots.modality_map(report.embeddings, data), plots.identity_map(report.embeddings, data))
    return join([el("p", lead, class_="lead"), el("div", *maps, class_="pair")])


def _training(report: ReportInput) -> Html:
    drawn = training_figures(report.metrics, report.selection)
    if report.learning:
        drawn = [*drawn, *learning_figures(report.learning)]
    return (
        join(drawn)
        if drawn
        else absent(report.reason("metrics", "the run holds no metrics.jsonl with training steps"))
    )


def _configuration(report: ReportInput) -> Html:
    if report.config_text.strip():
        size = len(report.config_text.strip().splitlines())
        config = el(
            "details",
            el("summary", f"Resolved configuration ({size} lines)"),
            el("pre", report.config_text.strip(), tabindex=0),
        )
    else:
        config = absent(report.reason("config", "the run holds no config.yaml"))
    rows = list(_flat(report.environment))
    environment = (
        table(["Environment", "Value"], rows, class_="facts")
        if rows
        else absent(report.reason("environment", "the run holds no environment.json"))
    )
    prints = {(k, v) for r in report.results for k, v in (r.get("fingerprints") or {}).items()}
    fingerprints = (
        table(["Fingerprint", "Value"], [[k, el("code", v)] for k, v in sorted(prints)], class_="facts")
        if prints
        else None
    )
    return join([config, el("div", environment, fingerprints, class_="pair")])


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Html]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from _flat(item, f"{name}.")
        else:
            shown = ", ".join(map(str, item)) if isinstance(item, list | tuple) else item
            yield name, el("code", "none" if shown in (None, "") else shown)
