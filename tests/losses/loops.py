"""Every loss by explicit loops over rows, from its definition, on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

Row = list[float]


def distance(a: Row, b: Row) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def dot(a: Row, b: Row) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a: Row) -> Row:
    length = math.sqrt(dot(a, a))
    return [x / length for x in a]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def centre(rows: list[Row]) -> Row:
    return [mean(column) for column in zip(*rows, strict=True)]


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def softmax(row: Row) -> Row:
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    return [p / sum(powers) for p in powers]


def gaps(x, labels, *, alpha=1.0, with_self=True, published=False) -> list[tuple[float, float]]:
    """The weighted mean distances (a_i, b_i)."""
    rows, ids = x.tolist(), labels.tolist()
    out = []
    for i, anchor in enumerate(rows):
        positives = [
            distance(anchor, row) for j, row in enumerate(rows) if ids[j] == ids[i] and (with_self or j != i)
        ]
        negatives = [distance(anchor, row) for j, row in enumerate(rows) if ids[j] != ids[i]]
        pair = []
        for members, sign in ((positives, 1), (negatives, -1)):
            values = [sign * alpha * d for d in members]
            if published:
                others = len(rows) - len(members)
                top = max(values + [0.0] * others)  # 0 stands where a row is no member
                powers = [math.exp(v - top) for v in values]
                weights = [p / (sum(powers) + 1e-6) for p in powers]
            else:
                weights = softmax(values)
            pair.append(sum(w * d for w, d in zip(weights, members, strict=True)))
        out.append((pair[0], pair[1]))
    return out


def weighted_triplet(x, labels, **options) -> float:
    return mean([softplus(a - b) for a, b in gaps(x, labels, **options)])


def adaptive_triplet(x, labels, *, gamma=1.0, alpha=1.0, square=True, published=False) -> float:
    values = []
    for a, b in gaps(x, labels, alpha=alpha, published=published):
        size = gamma * (a - b) ** 2
        if published:
            size = min(size, 88.0)
        values.append(softplus((size if a > b else -size) if square else gamma * (a - b)))
    return mean(values)


def circle(x, labels, margin, gamma) -> float:
    rows, ids = [unit(row) for row in x.tolist()], labels.tolist()
    values = []
    for i, anchor in enumerate(rows):
        positive = negative = 0.0
        for j, row in enumerate(rows):
            s = dot(anchor, row)
            if ids[i] != ids[j]:
                negative += math.exp(gamma * max(margin + s, 0) * (s - margin))
            elif i != j:
                positive += math.exp(gamma * max(1 + margin - s, 0) * (1 - margin - s))
        values.append(math.log1p(positive * negative))
    return mean(values)


def by_identity(x, labels, keep=lambda i: True) -> dict[int, list[Row]]:
    groups: dict[int, list[Row]] = {}
    for i, (row, label) in enumerate(zip(x.tolist(), labels.tolist(), strict=True)):
        if keep(i):
            groups.setdefault(label, []).append(row)
    return groups


def centre_cluster(x, labels, centre_margin, inner_margin) -> float:
    centres = {label: centre(rows) for label, rows in by_identity(x, labels).items()}
    inner = [
        max(distance(row, centres[label]) - inner_margin, 0)
        for row, label in zip(x.tolist(), labels.tolist(), strict=True)
    ]
    outer = [
        mean([max(centre_margin - distance(centres[i], centres[j]), 0) for j in centres if j != i])
        for i in centres
    ]
    return mean(inner) + mean(outer)


def centre_mining(x, other, labels, infrared, margin) -> float:
    def centres(rows, flag):
        groups = by_identity(rows, labels, lambda i: bool(infrared[i]) == flag)
        return {label: centre(members) for label, members in groups.items()}

    a_v, a_r, b_v, b_r = centres(x, False), centres(x, True), centres(other, False), centres(other, True)

    def half(p, q, near_p, near_q, first, second):
        total = []
        for i in a_v:
            across = distance(p[i], q[i])
            bounds = [distance(near_p[i], near_q[i])]
            bounds += [min(distance(t[i], t[j]) for j in t if j != i) for t in (first, second)]
            hinges = [max(margin + across - bound, 0) for bound in bounds]
            total.append(hinges[0] + (hinges[1] + hinges[2]) / 2)
        return mean(total)

    return (half(a_r, b_v, a_v, b_v, b_v, a_v) + half(a_v, b_r, a_r, b_r, b_r, a_r)) / 2


def discriminative_centre(x, labels) -> float:
    centres = {label: centre(rows) for label, rows in by_identity(x, labels).items()}
    pairs = list(zip(x.tolist(), labels.tolist(), strict=True))
    positive = mean([distance(centres[label], row) for row, label in pairs])
    negative = []
    for i, c in centres.items():
        far = [distance(c, row) for row, label in pairs if label != i]
        negative.append(mean([d for d in far if d < mean(far)]))
    return positive / mean(negative)


def shared_enhancement(x, labels, infrared) -> float:
    rows, ids, flags = x.tolist(), labels.tolist(), infrared.tolist()
    sides: dict[bool, list[float]] = {True: [], False: []}
    for i, row in enumerate(rows):
        same = [j for j in range(len(rows)) if ids[j] == ids[i] and j != i]
        cross = mean([distance(row, rows[j]) for j in same if flags[j] != flags[i]])
        within = mean([distance(row, rows[j]) for j in same if flags[j] == flags[i]])
        sides[flags[i]].append((cross - within) ** 2)
    return (mean(sides[True]) + mean(sides[False])) / 2


def soft_rank(values: Row, strength: float) -> Row:
    """Projection of values / strength on the permutahedron of (1..n), by pool adjacent violators."""
    n = len(values)
    order = sorted(range(n), key=lambda j: values[j] / strength)
    # ascending values get ascending ranks: the nearest non-decreasing vector to s - w, taken off s
    s = [values[j] / strength for j in order]
    blocks: list[list[float]] = []
    for position, value in enumerate(s):
        blocks.append([value - (position + 1), 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    fitted = [total / count for total, count in blocks for _ in range(int(count))]
    ranks = [0.0] * n
    for position, j in enumerate(order):
        ranks[j] = s[position] - fitted[position]
    return ranks


def cross_retrieval(x, labels, infrared) -> float:
    rows, ids, flags = [unit(row) for row in x.tolist()], labels.tolist(), infrared.tolist()
    sides = []
    for side in (False, True):
        values = []
        for q in (i for i in range(len(rows)) if flags[i] == side):
            candidates = [j for j in range(len(rows)) if flags[j] != side]
            targets = [1 if ids[j] == ids[q] else len(candidates) for j in candidates]
            if len(set(targets)) == 1:
                continue
            ranks = soft_rank([(1 - dot(rows[q], rows[j])) / 2 for j in candidates], 0.5)
            values.append(mean([abs(r - t) for r, t in zip(ranks, targets, strict=True)]))
        sides.append(mean(values))
    return mean(sides)


def mmd(x, y) -> float:
    a, b = ([unit(row) for row in part.tolist()] for part in (x, y))
    joined = a + b
    n = len(joined)
    width = sum(distance(p, q) ** 2 for p in joined for q in joined) / (n * n - n)

    def kernel(first, second):
        return mean(
            [
                sum(math.exp(-(distance(p, q) ** 2) / (width * 2.0**i)) for i in range(-2, 3))
                for p in first
                for q in second
            ]
        )

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def separation(masks: torch.Tensor) -> float:
    images = []
    for image in masks.flatten(2).tolist():
        pairs = [dot(image[p], image[q]) for q in range(len(image)) for p in range(q)]
        images.append(mean(pairs))
    return mean(images)


def diversity(attention: torch.Tensor) -> float:
    images = []
    for image in attention.tolist():
        pairs = [
            distance(image[p], image[q]) / math.sqrt(len(image[p]))
            for q in range(len(image))
            for p in range(q)
        ]
        images.append(mean(pairs))
    return -mean(images)


def symmetric_mutual(a: list[Row], b: list[Row]) -> float:
    total = 0.0
    for one, other in zip(a, b, strict=True):
        for p, q in zip(softmax(one), softmax(other), strict=True):
            total += p * math.log(p / q) + q * math.log(q / p)
    return total / len(a)


def graph_alignment(v, r, own_v, own_r, weight: float, mixed: list[Row]) -> float:
    graphs = []
    for rows in (v.tolist(), r.tolist(), mixed, own_v.tolist(), own_r.tolist()):
        graphs.append(
            [[max(distance(a, b), 1e-6) for j, b in enumerate(rows) if j != i] for i, a in enumerate(rows)]
        )
    v_, r_, m_, p_, q_ = graphs
    shared = symmetric_mutual(v_, r_) + symmetric_mutual(v_, m_) + symmetric_mutual(m_, r_)
    return shared + weight * (symmetric_mutual(v_, p_) + symmetric_mutual(r_, q_))


def entropy(row: Row) -> float:
    return -sum(p * math.log(p) for p in softmax(row))


def purification(masked_logits, logits, masked, plain, labels, infrared) -> float:
    costs = [
        math.exp(max(entropy(m) - entropy(p), 0)) - 1
        for m, p in zip(masked_logits.tolist(), logits.tolist(), strict=True)
    ]

    def gaps(rows):
        sides = [
            by_identity(rows, labels, lambda i, s=side: bool(infrared[i]) == s) for side in (False, True)
        ]
        return {i: distance(centre(sides[0][i]), centre(sides[1][i])) for i in sides[0]}

    behind, before = gaps(masked), gaps(plain)
    return mean(costs) + mean([max(behind[i] - before[i], 0) for i in behind])
