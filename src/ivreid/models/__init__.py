"""Networks: backbones through timm, norm layers, and weights read and written without executing anything."""

from ivreid.models.backbone import RESNETS, create_backbone, global_average
from ivreid.models.foreign import read_tensors
from ivreid.models.necks import NormKind, make_norm
from ivreid.models.weights import read_card, read_weights, weights_fingerprint, write_weights

__all__ = [
    "RESNETS",
    "NormKind",
    "create_backbone",
    "global_average",
    "make_norm",
    "read_card",
    "read_tensors",
    "read_weights",
    "weights_fingerprint",
    "write_weights",
]
