"""The results as tables: every figure with its spread, every row marked that is not plain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ivreid.report.html import Html, el, join, table

FIGURES = (
    ("rank1", "Rank-1"), ("rank5", "Rank-5"), ("rank10", "Rank-10"),
    ("rank20", "Rank-20"), ("mAP", "mAP"), ("mINP", "mINP"),
)  # fmt: skip


def percent(value: float, spread: float | None = None) -> Html:
    """A fraction in percent, with its standard deviation where there is one."""
    words = el("span", f"{100 * value:.1f}", class_="value")
    return words if spread is None else join([words, el("span", f" ± {100 * spread:.1f}", class_="spread")])


def marks(result: Mapping[str, Any]) -> Html:
    """Badges of what a reader must not overlook: other images, drawn people, no plain ranking."""
    out = []
    if result.get("evaluation"):
        out.append(el("span", f"other images: {result['evaluation']}", class_="badge"))
    if result.get("synthetic"):
        out.append(el("span", "synthetic people", class_="badge"))
    if result.get("rerank"):
        out.append(el("span", f"re-ranked: {result['rerank']}", class_="badge"))
    if result.get("tta"):
        out.append(el("span", f"test-time augmentation: {result['tta']}", class_="badge"))
    return join(out, " ")


def is_plain(result: Mapping[str, Any]) -> bool:
    """Whether nothing but the embedding's own distances made the ranking."""
    return not result.get("rerank") and not result.get("tta")


def results_table(results: Sequence[Mapping[str, Any]]) -> Html:
    """Every result in one table, numbered, marked where it is not plain, with its notes below."""
    notes = list(dict.fromkeys(str(note) for result in results for note in result.get("notes") or ()))
    rows = []
    for number, result in enumerate(results, start=1):
        signs = [
            el("sup", el("a", notes.index(str(n)) + 1, href=f"#note{notes.index(str(n)) + 1}"))
            for n in result.get("notes") or ()
        ]
        several = len(result["trials"]) > 1
        name = el("span", result["title"], *signs)
        badges = marks(result)
        words = el(
            "div", name, el("div", _counts(result), class_="fine"), el("div", badges) if badges else None
        )
        title = el("div", el("span", number, class_="number"), words, class_="setting-cell")
        cells = [percent(result["mean"][key], result["std"][key] if several else None) for key, _ in FIGURES]
        rows.append([title, *cells])
    head = ["Protocol setting", *(label for _, label in FIGURES)]
    listed = (
        el("ol", *(el("li", note, id=f"note{i}") for i, note in enumerate(notes, 1)), class_="notes")
        if notes
        else None
    )
    return join([table(head, rows, class_="results", name="results"), _reading(results), listed])


def _counts(result: Mapping[str, Any]) -> str:
    valid, queries, trials = int(result["valid_queries"]), int(result["queries"]), len(result["trials"])
    counted = f"{valid:,}" if valid == queries else f"{valid:,} valid of {queries:,}"
    return f"{counted} queries, gallery {int(result['gallery']):,}, {trials} trial{'s' if trials > 1 else ''}"


def _reading(results: Sequence[Mapping[str, Any]]) -> Html:
    words = (
        "Percent; mean ± standard deviation over trials. Rows of different settings answer different "
        "questions: they do not compare."
    )
    if not all(is_plain(r) for r in results):
        words += (
            " Rows marked so were re-ranked or embedded with test-time augmentation: they use the "
            "whole gallery, or more than one view, at test time, and must not be compared with plain rows."
        )
    if any(r.get("synthetic") for r in results):
        words += " Synthetic people are drawn: their figures say that the machinery works, and nothing of real data."
    return el("p", words, class_="reading")


def trial_tables(results: Sequence[Mapping[str, Any]]) -> Html:
    """The figures of every trial, folded away."""
    out = []
    for number, result in enumerate(results, start=1):
        if len(result["trials"]) > 1:
            rows = [
                [t, *(percent(trial[key]) for key, _ in FIGURES)]
                for t, trial in enumerate(result["trials"], 1)
            ]
            out.append(el("h3", f"{number}. {result['title']}"))
            out.append(table(["Trial", *(label for _, label in FIGURES)], rows))
    return el("details", el("summary", "Every trial"), *out) if out else Html("")
