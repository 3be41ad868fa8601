"""What a reader must know to read the figures rightly, whatever the protocol."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ivreid.protocols.base import Trial
from ivreid.types import NO_CAMERA, BoolArray, ImageTable

SMALL_GALLERY = 20


def trial_notes(trial: Trial, valid: BoolArray, images: ImageTable) -> tuple[str, ...]:
    """Notes on one trial: a small gallery, unknown people, queries that were left out (those not `valid`)."""
    query, gallery = images.take(trial.query), images.take(trial.gallery)
    return (*_small_gallery(gallery), *_unknown_people(images), *_left_out(valid, query, gallery, images))


def why_no_match(valid: BoolArray, query: ImageTable, gallery: ImageTable) -> str:
    """Why queries have no true match left, for a message: the camera rule, or other people on both sides.

    Args:
        valid: (Q,) False for queries without one, at least one of them.
        query: The query images.
        gallery: The gallery images.
    """
    ruled = _ruled_out(valid, query, gallery)
    if not ruled.any():
        return "do both modalities show the same identities?"
    return f"{int(ruled.sum())} had some, {_by_the_rule(ruled, query, gallery)}"


def _ruled_out(valid: BoolArray, query: ImageTable, gallery: ImageTable) -> BoolArray:
    """(Q,) True where the gallery shows the query's person and the camera rule leaves none of those images."""
    return ~valid & query.known & np.isin(query.pids, gallery.pids)


def _by_the_rule(ruled: BoolArray, query: ImageTable, gallery: ImageTable) -> str:
    text = "all of them excluded by the camera rule"
    shared = np.intersect1d(query.camids[ruled], gallery.camids)
    shared = shared[shared != NO_CAMERA]
    if not len(shared):
        return text
    numbers = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
    return (
        f"{text}: camera number {numbers} stands on both sides, and images by a query's own camera do not count; "
        "where the two modalities have cameras of their own, give those different numbers"
    )


def _left_out(valid: BoolArray, query: ImageTable, gallery: ImageTable, images: ImageTable) -> Iterator[str]:
    ruled = _ruled_out(valid, query, gallery)
    if ruled.any():
        why = _by_the_rule(ruled, query, gallery)
        yield f"{int(ruled.sum())} of {len(query)} queries are left out: they have true matches, {why}"
    # people whom a protocol's mode or draw leaves out of the gallery are its own affair
    others = np.isin(images.infrared, query.infrared, invert=True)
    alone = int((~np.isin(query.pids, np.concatenate([gallery.pids, images.pids[others]]))).sum())
    if alone:
        yield f"{alone} of {len(query)} queries are left out: no image of the other modality shows their people"


def _unknown_people(images: ImageTable) -> Iterator[str]:
    unknown = int((~images.known).sum())
    if unknown:
        yield (
            f"{unknown} of {len(images)} images are of unknown people (pid below 0): distractors, which never query "
            "and are never a true match"
        )


def _small_gallery(gallery: ImageTable) -> Iterator[str]:
    identities = len(np.unique(gallery.pids[gallery.known])) + int((~gallery.known).sum())
    if min(identities, len(gallery)) < SMALL_GALLERY:
        yield (
            f"small gallery: {identities} identities, {len(gallery)} images; beyond its end a CMC curve repeats "
            "its last value, so the higher ranks are trivially good"
        )
