"""A sentence with protocol and versions, to paste into a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ivreid.report.html import Html, el, join
from ivreid.report.inputs import ReportInput
from ivreid.report.results import is_plain


def paper_section(report: ReportInput) -> Html | None:
    """The sentences, one paragraph a result; None without results."""
    if not report.results:
        return None
    sentences = [paper_sentence(result, report.environment) for result in report.results]
    lead = "Protocol, counts and versions as they belong beside a figure; each sentence is of one row above."
    parts = [el("blockquote", sentence, class_="copy", tabindex=0) for sentence in sentences]
    first, *others = parts
    more = el("details", el("summary", f"The other {len(others)} settings"), *others) if others else None
    return join([el("p", lead, class_="lead"), first, more])


def paper_sentence(result: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """How a result was made, in a sentence or two."""
    mean, std, trials = result["mean"], result["std"], len(result["trials"])
    figures = ", ".join(
        f"{name} {100 * mean[key]:.1f}{f' ± {100 * std[key]:.1f}' if trials > 1 else ''}%"
        for key, name in (("rank1", "Rank-1"), ("mAP", "mAP"), ("mINP", "mINP"))
    )
    words = (
        f"Protocol: {result['title']} ({int(result['valid_queries']):,} queries, {int(result['gallery']):,} "
    )
    words += f"gallery images, {'mean over ' + str(trials) + ' trials' if trials > 1 else 'one trial'}): {figures}."
    interval = (result.get("intervals") or {}).get("rank1")
    if interval:
        low, high = 100 * float(interval["low"]), 100 * float(interval["high"])
        words += f" The {100 * float(interval['confidence']):g}% interval of Rank-1 over query identities is "
        words += f"{low:.1f} to {high:.1f}%."
    if result.get("synthetic"):
        words += " The people are synthetic: the figures say nothing about real data."
    if not is_plain(result):
        words += " This is not a plain ranking and does not compare with one."
    return f"{words} {_versions(result, environment)}"


def _versions(result: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    known = environment.get("versions")
    versions = known if isinstance(known, Mapping) else {}
    own = f"ivreid {versions['ivreid']}" if versions.get("ivreid") else "ivreid"
    parts = [f"{own} (version {result['version']} of the protocol {result['protocol']})"]
    parts += [
        f"{name} {versions[key]}"
        for key, name in (("torch", "PyTorch"), ("timm", "timm"), ("numpy", "NumPy"), ("python", "Python"))
        if versions.get(key)
    ]
    prints = result.get("fingerprints") or {}
    marks = [f"{kind} {prints[kind]}" for kind in ("dataset", "split", "model") if prints.get(kind)]
    told = f" Fingerprints: {', '.join(marks)}." if marks else ""
    return f"Evaluated with {', '.join(parts)}.{told}"
