"""Every loss on one batch: rows of four identities, two infrared and two visible images of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ivreid import losses
from ivreid.distributed.gather import first_row, gather_rows

Inputs = dict[str, Tensor]
IDENTITIES, IMAGES = 4, 4


def fixed_input() -> Inputs:
    """Numbers by arithmetic, which no random generator can change."""
    rows = IDENTITIES * IMAGES

    def values(count: int, factor: int) -> Tensor:
        return ((torch.arange(rows * count) * factor % 101) - 50).double().view(rows, count) / 40

    return {
        "x": values(5, 37),
        "y": values(5, 59),
        "logits": values(IDENTITIES, 71),
        "teacher": values(IDENTITIES, 23),
        "maps": values(3 * 6, 43).view(rows, 3, 6).sigmoid(),
        "labels": torch.arange(IDENTITIES).repeat_interleave(IMAGES),
        "infrared": torch.arange(rows) % IMAGES < 2,
    }


def among(i: Inputs, *, own: bool = False) -> dict[str, object]:
    """The own rows as anchors, all processes' rows as candidates."""
    place = {"first": first_row(len(i["x"]))} if own else {}
    return {"candidates": gather_rows(i["x"]), "candidate_labels": gather_rows(i["labels"]), **place}


def whole(i: Inputs, *names: str) -> list[Tensor]:
    """All processes' rows of these inputs."""
    return [gather_rows(i[name]) for name in names]


def by_modality(i: Inputs, *names: str) -> list[Tensor]:
    """All processes' visible and infrared rows of each input."""
    infrared = gather_rows(i["infrared"])
    return [gather_rows(i[name])[rows] for name in names for rows in (~infrared, infrared)]


LOSSES: dict[str, Callable[[Inputs], Tensor]] = {
    # own rows alone; the teacher must learn from one of them, or its gradients would be missing
    "identity_loss": lambda i: losses.identity_loss(i["logits"], i["labels"]),
    "identity_loss:smoothed": lambda i: losses.identity_loss(i["teacher"], i["labels"], smoothing=0.1),
    "mutual_loss": lambda i: losses.mutual_loss(i["logits"], i["teacher"]),
    "mutual_loss:mean": lambda i: losses.mutual_loss(i["logits"], i["teacher"], "mean"),
    "reverse_mutual_loss": lambda i: losses.reverse_mutual_loss(i["logits"], i["teacher"]),
    "symmetric_mutual_loss": lambda i: losses.symmetric_mutual_loss(i["logits"], i["teacher"]),
    "soft_identity_loss": lambda i: losses.soft_identity_loss(i["logits"], i["teacher"]),
    "orthogonality_loss": lambda i: losses.orthogonality_loss(i["x"], i["y"]),
    "separation_loss": lambda i: losses.separation_loss(i["maps"].unflatten(2, (3, 2))),
    "diversity_loss": lambda i: losses.diversity_loss(i["maps"]),
    # own rows as anchors
    "triplet_loss": lambda i: losses.triplet_loss(i["x"], i["labels"], margin=0.3, **among(i)),
    "weighted_triplet_loss": lambda i: losses.weighted_triplet_loss(i["x"], i["labels"], **among(i)),
    "weighted_triplet_loss:published": lambda i: losses.weighted_triplet_loss(
        32 * i["x"],
        i["labels"],
        candidates=32 * gather_rows(i["x"]),
        candidate_labels=gather_rows(i["labels"]),
        published=True,
    ),
    "weighted_triplet_loss:relative": lambda i: losses.weighted_triplet_loss(
        i["x"], i["labels"], relative=True, with_self=False, **among(i, own=True)
    ),
    "adaptive_triplet_loss": lambda i: losses.adaptive_triplet_loss(i["x"], i["labels"], **among(i)),
    "adaptive_triplet_loss:plain": lambda i: losses.adaptive_triplet_loss(
        i["x"], i["labels"], square=False, gamma=2.0, alpha=0.5, **among(i)
    ),
    "adaptive_triplet_loss:published": lambda i: losses.adaptive_triplet_loss(
        i["x"], i["labels"], published=True, **among(i)
    ),
    "circle_loss": lambda i: losses.circle_loss(i["x"], i["labels"], gamma=8.0, **among(i, own=True)),
    # the whole loss of the gathered rows
    "centre_cluster_loss": lambda i: losses.centre_cluster_loss(*whole(i, "x", "labels"), centre_margin=2.0),
    "centre_cluster_loss:inner": lambda i: losses.centre_cluster_loss(
        *whole(i, "x", "labels"), inner_margin=0.9
    ),
    "centre_mining_loss": lambda i: losses.centre_mining_loss(*whole(i, "x", "y", "labels", "infrared")),
    "discriminative_centre_loss": lambda i: losses.discriminative_centre_loss(*whole(i, "x", "labels")),
    "shared_enhancement_loss": lambda i: losses.shared_enhancement_loss(*whole(i, "x", "labels", "infrared")),
    "cross_retrieval_loss": lambda i: losses.cross_retrieval_loss(*whole(i, "x", "labels", "infrared")),
    "graph_alignment_loss": lambda i: losses.graph_alignment_loss(*by_modality(i, "x", "y")),
    "graph_alignment_loss:published": lambda i: losses.graph_alignment_loss(
        *by_modality(i, "x", "y"), published=True
    ),
    "class_alignment_loss": lambda i: losses.class_alignment_loss(*by_modality(i, "logits", "teacher")),
    "class_alignment_loss:joined": lambda i: losses.class_alignment_loss(
        *by_modality(i, "logits", "teacher"), labels=by_modality(i, "labels")[0], specific_weight=0.3
    ),
    "purification_loss": lambda i: losses.purification_loss(
        *whole(i, "logits", "teacher", "x", "y", "labels", "infrared")
    ),
    "mmd_loss": lambda i: losses.mmd_loss(*whole(i, "x", "y")),
}
