"""The charts of a report, each drawn from plain arrays and captioned with how to read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivreid.report.geometry import PairDistances, Plane, pair_distances, principal_plane, spread_sample
from ivreid.report.html import Html, el, figure, join
from ivreid.report.inputs import ShownImage
from ivreid.report.page_data import PageData, shown_images
from ivreid.report.pictures import who
from ivreid.report.svg import SERIES, Plot, Scale, legend, linear
from ivreid.types import Embeddings

Array = NDArray[np.float64]
RANKS = 20
BINS = 60
ACROSS = "Across modalities"
MAP_IDENTITIES = 8
MAP_IMAGES = 24
PERCENT = tuple((10.0 * i, f"{10 * i}%") for i in range(11))


def cmc_curves(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Html:
    """CMC of every result: mean over trials, band of one standard deviation."""
    ticks = tuple((float(r), str(r)) for r in (1, 5, 10, 15, 20))
    lowest = 100 * min(min(t["cmc"][:1]) for r in results for t in r["trials"])
    floor = 10.0 * math.floor(max(lowest - 2, 0) / 10)
    step = 20 if floor < 60 else 10
    y = Scale(
        floor,
        100,
        tuple(t for t in PERCENT if t[0] >= floor and t[0] % step == 0),
        "Queries matched within the first k",
    )
    plot = Plot(Scale(1, RANKS, ticks, "Rank k"), y)
    entries = []
    for series, (result, name) in enumerate(zip(results, names, strict=True)):
        length = min(RANKS, *(len(t["cmc"]) for t in result["trials"]))
        curves = 100 * np.array([t["cmc"][:length] for t in result["trials"]])
        mean, std = curves.mean(axis=0), curves.std(axis=0)
        ranks = [float(r) for r in range(1, length + 1)]
        if len(curves) > 1:
            plot.band(ranks, list(np.maximum(mean - std, 0)), list(np.minimum(mean + std, 100)), series)
        plot.line(ranks, list(mean), series)
        for rank in (r for r in (1, 5, 10, 20) if r <= length):
            hint = f"{name}: rank {rank}, {mean[rank - 1]:.1f}% (std {std[rank - 1]:.1f})"
            plot.dot(rank, mean[rank - 1], series, shape=series, hint=hint)
        entries.append((f"{name}: {mean[0]:.1f}% at rank 1", series, "line"))
    return figure(
        join([plot.svg("CMC curves. " + "; ".join(words for words, _, _ in entries)), legend(entries)]),
        "CMC: the share of queries that meet their person within the first k places. Higher and further "
        "left is better. Shading is one standard deviation over the trials."
        + (f" The axis starts at {floor:.0f}%." if floor else ""),
    )


def trial_spread(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Html:
    """Rank-1 and mAP of every single trial, a row a setting."""
    values = [100 * t[key] for r in results for t in r["trials"] for key in ("rank1", "mAP")]
    rows = len(results)
    ticks = tuple((float(rows - i), str(i + 1)) for i in range(rows))
    plot = Plot(
        linear(values, "Percent", unit="%"),
        Scale(0.4, rows + 0.6, ticks, "Row of the results table"),
        left=30,
    )
    for i, (result, name) in enumerate(zip(results, names, strict=True)):
        for t, trial in enumerate(result["trials"], start=1):
            for key, label, lift, hollow in (("rank1", "Rank-1", 0.12, False), ("mAP", "mAP", -0.12, True)):
                hint = f"{name}, trial {t}: {label} {100 * trial[key]:.1f}%"
                shape = 2 if hollow else 0
                plot.dot(100 * trial[key], rows - i + lift, i, shape=shape, hollow=hollow, hint=hint, size=4)
    entries = [("Rank-1 of a trial", None, "dot"), ("mAP of a trial", None, "hollow")]
    return figure(
        join([plot.svg("Rank-1 and mAP of every trial, one row a setting"), legend(entries)]),
        "Every trial by itself. The wider a row is strewn, the less a single trial can be trusted, and "
        "the more a small difference between two models needs `ivreid compare` before it is called one.",
    )


def distance_histogram(
    pairs: PairDistances, kind: str, edges: Array, y: Scale, thresholds: Mapping[str, float]
) -> Html:
    """Distances of same and different people, each area 1, with thresholds drawn where they lie."""
    plot = Plot(linear(edges, "Cosine distance", tight=True), y, left=34)
    for series, values in ((1, pairs.different), (0, pairs.same)):
        plot.steps(list(edges), list(_density(values, edges)), series)
    told = ""
    for line, (name, threshold) in enumerate(thresholds.items()):
        if plot.x.low <= threshold <= plot.x.high:
            plot.rule(threshold, f"{name}: {threshold:.3f}", line)
        accepted = [100 * float((side <= threshold).mean()) for side in (pairs.same, pairs.different)]
        told += f" The threshold {name} ({threshold:.3f}) accepts {accepted[0]:.1f}% of these same-person pairs and "
        told += f"{accepted[1]:.2f}% of the others."
    share = f"{100 * pairs.auc:.1f}%"
    words = f"{kind}: a same-person pair is nearer than a different-person pair {share} of the time"
    entries = [
        (f"same person ({len(pairs.same):,} pairs, mean {_mean(pairs.same)})", 0, "area"),
        (f"different people ({len(pairs.different):,} pairs, mean {_mean(pairs.different)})", 1, "area"),
    ]
    return figure(
        join([el("h3", kind), plot.svg(words), legend(entries)]), f"{words} (AUC; 50% is chance).{told}"
    )


def _mean(values: Array) -> str:
    return f"{values.mean():.2f}"


def _density(values: Array, edges: Array) -> Array:
    return np.asarray(np.histogram(values, edges)[0] / len(values) / (edges[1] - edges[0]))


def distance_histograms(embeddings: Embeddings, thresholds: Mapping[str, float] | None = None) -> list[Html]:
    """One histogram across the modalities and one within, on the same axis; those without pairs say so."""
    populations = zip(pair_distances(embeddings), (ACROSS, "Within a modality"), strict=True)
    shown = [(pairs, kind) for pairs, kind in populations if len(pairs.same) and len(pairs.different)]
    if not shown:
        return []
    sides = [side for pairs, _ in shown for side in (pairs.same, pairs.different)]
    low, high = min(float(s.min()) for s in sides), max(float(s.max()) for s in sides)
    edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
    y = linear(np.concatenate([_density(side, edges) for side in sides]), "Density", zero=True)
    across = {} if thresholds is None else thresholds
    return [
        distance_histogram(pairs, kind, edges, y, across if kind == ACROSS else {}) for pairs, kind in shown
    ]


def modality_map(embeddings: Embeddings, data: PageData) -> Html:
    """All identities in the principal plane, coloured and shaped by modality."""
    shown = embeddings.take(spread_sample(embeddings.images, 900))
    plane = principal_plane(shown.vectors)
    plot = _plane_plot(plane)
    for (x, y), image in zip(plane.places, _named(shown), strict=True):
        ir, number = image.infrared, data.number(image)
        plot.dot(x, y, int(ir), shape=2 if ir else 0, size=2.2, hint=who(image), image=number)
    entries = [("visible", 0, "dot"), ("infrared", 1, "triangle")]
    people = len(np.unique(shown.images.pids[shown.images.known]))
    return figure(
        join(
            [
                el("h3", "By modality"),
                plot.svg("Map of test embeddings by modality", pictures=True),
                legend(entries),
            ]
        ),
        f"{len(shown):,} test images of {people:,} identities. Two separate "
        "clouds mean that the model still sees the camera's kind before it sees the person; one mixed "
        "cloud is the aim.",
    )


def identity_map(embeddings: Embeddings, data: PageData) -> Html:
    """A few identities in their own principal plane; a link joins each one's visible and infrared centres."""
    images = embeddings.images
    people = np.unique(images.pids[images.known])
    both = [p for p in people if len(np.unique(images.infrared[images.pids == p])) == 2]
    pool = np.array(both if both else people)
    # evenly over the ascending identities: a choice nobody can suspect of being a good one
    chosen = pool[(np.arange(min(MAP_IDENTITIES, len(pool))) * len(pool) // min(MAP_IDENTITIES, len(pool)))]
    subset = embeddings.take(np.isin(images.pids, chosen))
    shown = subset.take(spread_sample(subset.images, MAP_IMAGES * len(chosen)))
    plane = principal_plane(shown.vectors)
    plot = _plane_plot(plane)
    pids, infrared = shown.images.pids, shown.images.infrared
    for (x, y), image in zip(plane.places, _named(shown), strict=True):
        series, ir = int(np.searchsorted(chosen, image.pid)) % SERIES, image.infrared
        number = data.number(image, 6)
        plot.dot(x, y, series, shape=2 if ir else 0, hollow=ir, size=3.2, hint=who(image), image=number)
    for series, pid in enumerate(chosen):
        centres = [plane.places[(pids == pid) & (infrared == ir)] for ir in (False, True)]
        if all(len(c) for c in centres):
            (x0, y0), (x1, y1) = (c.mean(axis=0) for c in centres)
            plot.link(x0, y0, x1, y1, series)
            plot.label((x0 + x1) / 2, (y0 + y1) / 2, str(pid), dy=-5)
    entries = [("visible", None, "dot"), ("infrared", None, "hollow")]
    return figure(
        join(
            [
                el("h3", "By identity"),
                plot.svg("Map of test embeddings by identity", pictures=True),
                legend(entries),
            ]
        ),
        f"{len(chosen)} identities, taken evenly over the identity numbers; colour and number tell the "
        "identity, filled and hollow the modality. A line joins the centres of a person's visible and "
        "infrared images: short lines and tight, separate groups are the aim.",
    )


def _named(embeddings: Embeddings) -> list[ShownImage]:
    table = embeddings.images
    return shown_images(table.paths, table.pids, table.camids, table.infrared)


def _plane_plot(plane: Plane) -> Plot:
    """Equal units on both axes, so that distances on paper are distances in the plane."""
    width, height = 480, 400
    xs, ys = plane.places[:, 0], plane.places[:, 1]
    spare = 1.08
    unit = spare * max(float(np.ptp(xs)) / (width - 58), float(np.ptp(ys)) / (height - 66), 1e-9)
    (cx, cy) = ((xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2)
    half_x, half_y = unit * (width - 58) / 2, unit * (height - 66) / 2
    first, second = (
        f"Principal component {i} ({100 * s:.0f}% of variance)" for i, s in enumerate(plane.shares, 1)
    )
    x = Scale(cx - half_x, cx + half_x, (), first)
    y = Scale(cy - half_y, cy + half_y, (), second)
    inner = [t for t in linear((x.low, x.high), "").ticks if x.low <= t[0] <= x.high]
    side = [t for t in linear((y.low, y.high), "").ticks if y.low <= t[0] <= y.high]
    return Plot(
        Scale(x.low, x.high, tuple(inner), first), Scale(y.low, y.high, tuple(side), second), height=height
    )
