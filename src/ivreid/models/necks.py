"""Norm layers between the pooled feature and the classifiers."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["bn", "gn", "none"]

GROUPS = 2


def make_norm(kind: NormKind, features: int) -> nn.Module:
    """The norm layer (B, features) -> (B, features): weight and bias are both trained.

    Args:
        kind: "bn" BatchNorm1d, "gn" GroupNorm with 2 groups, "none" nothing.
        features: Width of the feature.
    """
    if kind == "bn":
        return nn.BatchNorm1d(features)
    if kind == "gn":
        return nn.GroupNorm(GROUPS, features)
    return nn.Identity()
