"""Networks: backbones through timm, their parts, and weights read and written without executing anything."""

from ivreid.models.alleviated import AlleviatedBackbone
from ivreid.models.backbone import RESNETS, create_backbone
from ivreid.models.ema_linear import EmaLinear
from ivreid.models.foreign_checkpoint import read_checkpoint, read_tensors
from ivreid.models.gates import ChannelGate, ModalityAlleviation
from ivreid.models.modality_heads import ModalityHeads
from ivreid.models.necks import DualNorm, NormKind, make_norm
from ivreid.models.non_local import NonLocal
from ivreid.models.pooling import gem, global_average
from ivreid.models.slow_copy import SlowCopy
from ivreid.models.stages import BackboneStages, after_last_blocks, split_backbone
from ivreid.models.stems import TwoStems
from ivreid.models.vit import OverlappingViT, create_vit, resize_table
from ivreid.models.weights import (
    MAX_CLASSES,
    read_card,
    read_weights,
    store_card,
    weights_fingerprint,
    write_weights,
)

__all__ = [
    "MAX_CLASSES",
    "RESNETS",
    "AlleviatedBackbone",
    "BackboneStages",
    "ChannelGate",
    "DualNorm",
    "EmaLinear",
    "ModalityAlleviation",
    "ModalityHeads",
    "NonLocal",
    "NormKind",
    "OverlappingViT",
    "SlowCopy",
    "TwoStems",
    "after_last_blocks",
    "create_backbone",
    "create_vit",
    "gem",
    "global_average",
    "make_norm",
    "read_card",
    "read_checkpoint",
    "read_tensors",
    "read_weights",
    "resize_table",
    "split_backbone",
    "store_card",
    "weights_fingerprint",
    "write_weights",
]
