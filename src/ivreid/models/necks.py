"""Norm layers between the pooled feature and the classifiers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ivreid.models.stems import route

NormKind = Literal["bn", "gn", "none"]

GROUPS = 2


def make_norm(kind: NormKind, features: int, *, shift: bool = True) -> nn.Module:
    """The norm layer (B, features) -> (B, features): weight and bias are trained.

    Args:
        kind: "bn" BatchNorm1d, "gn" GroupNorm with 2 groups, "none" nothing.
        features: Width of the feature.
        shift: False leaves the bias out, which is a bias kept at 0 (Luo et al., "Bag of Tricks", CVPRW 2019,
            sec. 3.5).
    """
    if kind == "none":
        return nn.Identity()
    norm = nn.BatchNorm1d(features) if kind == "bn" else nn.GroupNorm(GROUPS, features)
    if not shift:
        norm.bias = None  # type: ignore[assignment]
    return norm


class DualNorm(nn.Module):
    """A norm layer for visible rows and one for infrared rows, without bias unless asked for.

    Args:
        kind: As `make_norm`.
        features: Width of the feature.
        shift: As `make_norm`.
    """

    def __init__(self, kind: NormKind, features: int, *, shift: bool = False) -> None:
        super().__init__()
        self.visible = make_norm(kind, features, shift=shift)
        self.infrared = make_norm(kind, features, shift=shift)

    def forward(self, x: Tensor, infrared: Tensor) -> Tensor:
        """(B, features) rows and (B,) bool -> (B, features)."""
        return route(x, infrared, self.visible, self.infrared)
