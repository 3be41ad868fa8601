"""The protocols a second time: plain lists, one query at a time, written from the specification alone."""

import hashlib
import math
import random
from statistics import fmean

import numpy as np

from ivreid.types import Embeddings, ImageTable


def people(rng, cameras, infrared_cameras, identities=9, most=5, width=6, levels=None):
    """Random embeddings of identities missing from cameras, with unequal image counts.

    Vectors of few integer `levels` give many equal distances, which double precision computes exactly.
    """
    rows = []
    for pid in rng.choice(np.arange(1, 60), identities, replace=False).tolist():
        for camid in cameras:
            if rng.random() < 0.75:
                rows += [(pid, camid, frame) for frame in range(1, int(rng.integers(1, most + 1)) + 1)]
    pids, camids, frames = np.array(rows).T
    vectors = rng.integers(0, levels, (len(rows), width)) if levels else rng.normal(size=(len(rows), width))
    table = ImageTable(pids, camids, frames, np.isin(camids, infrared_cameras))
    return shuffled(rng, Embeddings(vectors, table))


def shuffled(rng, embeddings):
    return embeddings.take(rng.permutation(len(embeddings)))


def listed(embeddings):
    """(pid, camid, frame, infrared, vector) of every image, sorted by ids."""
    images = embeddings.images
    columns = (images.pids, images.camids, images.frames, images.infrared, embeddings.vectors)
    return sorted(
        (tuple(v.tolist() for v in row) for row in zip(*columns, strict=True)), key=lambda row: row[:4]
    )


def distance(metric, a, b):
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    if metric == "euclidean":
        return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(x * x for x in b))


def one_trial(queries, gallery, forbidden, metric, rule):
    """Figures of one trial: dict of rank1..rank20, mAP, mINP, and the number of valid queries."""
    aps, inps, firsts = [], [], []
    for query in queries:
        allowed = [image for image in gallery if not forbidden(query, image)]
        ranked = sorted(allowed, key=lambda image: distance(metric, query[4], image[4]))  # sorted() is stable
        names = [image[0] for image in ranked]
        hits = [rank for rank, pid in enumerate(names, start=1) if pid == query[0]]
        if hits:
            aps.append(fmean(n / rank for n, rank in enumerate(hits, start=1)))
            inps.append(len(hits) / hits[-1])
            reduced = list(dict.fromkeys(names)) if rule == "identity" else names
            firsts.append(reduced.index(query[0]) + 1)
    figures = {f"rank{k}": fmean(first <= k for first in firsts) for k in (1, 5, 10, 20)}
    return {**figures, "mAP": fmean(aps), "mINP": fmean(inps), "valid": len(firsts)}


def drawn(images, seed, order):
    """One image of every (pid, camid) by Python's own global generator, as public code calls it."""
    random.seed(seed)
    places = sorted({image[:2] for image in images}, key=order)
    return sorted(random.choice([image for image in images if image[:2] == place]) for place in places)


def hashed(images, trial, shots):
    """Of every (pid, camid) the images whose place among them has the smallest SHA-256 of "trial pid camid place"."""
    found = []
    for pid, camid in sorted({image[:2] for image in images}):
        here = [image for image in images if image[:2] == (pid, camid)]
        digest = {
            i: hashlib.sha256(f"{trial} {pid} {camid} {i + 1}".encode()).hexdigest() for i in range(len(here))
        }
        found += [here[i] for i in sorted(digest, key=digest.get)[:shots]]
    return sorted(found)


def by_identity(place):
    return place


def by_camera(place):
    return place[1], place[0]


def sysu(embeddings, mode, draw, metric, rule, shots=1, permutations=None):
    images = listed(embeddings)
    queries = [image for image in images if image[1] in (3, 6)]
    visible = [image for image in images if image[1] in ((1, 2, 4, 5) if mode == "all" else (1, 2))]
    trials = []
    for t in range(10):
        if draw == "official":
            gallery = [
                image
                for image in visible
                if image[2] in permutations[image[1] - 1][image[0] - 1][t][:shots].tolist()
            ]
        elif draw == "agw":
            gallery = drawn(visible, t, by_identity)
        elif draw == "seeded":
            gallery = hashed(visible, t, shots)
        else:
            gallery = drawn(visible, 2019 + 33 * t, by_camera)
        trials.append(one_trial(queries, gallery, lambda q, g: q[1] == 3 and g[1] == 2, metric, rule))
    return trials


def same_place(query, image):
    return query[:2] == image[:2]


def llcm(embeddings, direction, metric, rule):
    images = listed(embeddings)
    infrared_queries = direction == "infrared-to-visible"
    whole = [image for image in images if image[3] == infrared_queries]
    other = [image for image in images if image[3] != infrared_queries]
    trials = []
    for t in range(10):
        sample = drawn(other, t, by_identity)
        queries, gallery = (sample, whole) if direction.endswith("swapped") else (whole, sample)
        trials.append(one_trial(queries, gallery, same_place, metric, rule))
    return trials


def whole(embeddings, direction, forbidden, metric, rule):
    images = listed(embeddings)
    queries = [image for image in images if image[3] == (direction == "infrared-to-visible")]
    gallery = [image for image in images if image[3] != (direction == "infrared-to-visible")]
    return [one_trial(queries, gallery, forbidden, metric, rule)]
