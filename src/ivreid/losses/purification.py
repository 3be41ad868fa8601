"""What a mask shall do: make identities clearer, and modalities nearer (IP)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ivreid.losses.pairs import class_means, identity_shares, row_distance
from ivreid.tensors import without_autocast


@without_autocast
def purification_loss(
    masked_logits: Tensor,
    logits: Tensor,
    masked_features: Tensor,
    features: Tensor,
    labels: Tensor,
    infrared: Tensor,
) -> Tensor:
    """A mask that makes a classifier less sure costs, and so does one that parts the modalities further.

    The mean over rows of exp((H(masked logits) - H(logits))+) - 1, H the entropy of the softmax, plus the mean
    over identities of (gap(masked features) - gap(features))+, gap the distance of an identity's means of the
    two modalities.

    Source: Ren & Zhang, "Implicit Discriminative Knowledge Learning" (CVPR 2024), as its code has it.

    In several processes: of the gathered rows, the whole loss on each.

    Args:
        masked_logits: (B, C) of features behind the mask.
        logits: (B, C) without it.
        masked_features: (B, D) behind the second mask.
        features: (B, D) without it.
        labels: (B,).
        infrared: (B,) bool.

    Returns:
        Scalar; identities of one modality are left out of the second mean.
    """
    infrared = infrared.to(labels.device, non_blocking=True)
    clearer = (_entropy(masked_logits) - _entropy(logits)).relu().exp().mean() - 1
    gaps = []
    for rows in (masked_features, features):
        visible, seen = class_means(rows, labels, ~infrared)
        other, felt = class_means(rows, labels, infrared)
        gaps.append(row_distance(visible, other))
    share = identity_shares(labels, features.dtype, (seen > 0) & (felt > 0))
    return clearer + (share * (gaps[0] - gaps[1]).relu()).sum()


def _entropy(logits: Tensor) -> Tensor:
    log_p = functional.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(1)
