"""Losses, one idea a file: pure functions of embeddings or logits, and labels."""

from ivreid.losses.identity import identity_loss
from ivreid.losses.mutual import Reduction, mutual_loss
from ivreid.losses.triplet import triplet_loss

__all__ = ["Reduction", "identity_loss", "mutual_loss", "triplet_loss"]
