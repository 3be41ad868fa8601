"""Losses, one idea a file: pure functions of embeddings or logits, and labels.

Each computes in single precision or better under any autocast, and says what makes several processes equal
one: its own rows alone, its own rows as anchors among the gathered ones, or the whole loss of the gathered
rows on every process.
"""

from ivreid.losses.adaptive_triplet import adaptive_triplet_loss
from ivreid.losses.centre_cluster import centre_cluster_loss
from ivreid.losses.centre_mining import centre_mining_loss
from ivreid.losses.circle import circle_loss
from ivreid.losses.class_alignment import class_alignment_loss
from ivreid.losses.cross_retrieval import cross_retrieval_loss
from ivreid.losses.discriminative_centre import discriminative_centre_loss
from ivreid.losses.diversity import diversity_loss
from ivreid.losses.graph_alignment import graph_alignment_loss
from ivreid.losses.identity import identity_loss
from ivreid.losses.mmd import mmd_loss
from ivreid.losses.mutual import (
    Reduction,
    mutual_loss,
    reverse_mutual_loss,
    soft_identity_loss,
    symmetric_mutual_loss,
)
from ivreid.losses.orthogonality import orthogonality_loss
from ivreid.losses.purification import purification_loss
from ivreid.losses.separation import separation_loss
from ivreid.losses.shared_enhancement import shared_enhancement_loss
from ivreid.losses.triplet import triplet_loss
from ivreid.losses.weighted_triplet import weighted_distances, weighted_triplet_loss

__all__ = [
    "Reduction",
    "adaptive_triplet_loss",
    "centre_cluster_loss",
    "centre_mining_loss",
    "circle_loss",
    "class_alignment_loss",
    "cross_retrieval_loss",
    "discriminative_centre_loss",
    "diversity_loss",
    "graph_alignment_loss",
    "identity_loss",
    "mmd_loss",
    "mutual_loss",
    "orthogonality_loss",
    "purification_loss",
    "reverse_mutual_loss",
    "separation_loss",
    "shared_enhancement_loss",
    "soft_identity_loss",
    "symmetric_mutual_loss",
    "triplet_loss",
    "weighted_distances",
    "weighted_triplet_loss",
]
