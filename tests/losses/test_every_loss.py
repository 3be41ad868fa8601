"""What holds for every loss: its value on one fixed input, and the same under autocast."""

from __future__ import annotations

import pytest
import torch
from every_loss import LOSSES, fixed_input

from ivreid import losses

GOLDEN = {
    "adaptive_triplet_loss": 3.0765243899556083,
    "adaptive_triplet_loss:plain": 1.9196060883927397,
    "adaptive_triplet_loss:published": 3.076521579957867,
    "centre_cluster_loss": 2.8108955745651123,
    "centre_cluster_loss:inner": 0.6727089312050998,
    "centre_mining_loss": 0.4172359580810201,
    "circle_loss": 24.44179679984677,
    "class_alignment_loss": 2.7278667555877196,
    "class_alignment_loss:joined": 1.9261484287864112,
    "cross_retrieval_loss": 3.5749970818037413,
    "discriminative_centre_loss": 1.1179195159423156,
    "diversity_loss": -0.2521904616007558,
    "graph_alignment_loss": 2.6343056468650996,
    "graph_alignment_loss:published": 1.9862409480824281,
    "identity_loss": 1.3724971993754556,
    "identity_loss:smoothed": 1.3392594319448317,
    "mmd_loss": 0.5976618954032684,
    "mutual_loss": 0.46110755081799965,
    "mutual_loss:mean": 0.11527688770449991,
    "orthogonality_loss": -0.03355468749999999,
    "purification_loss": 0.26795796914772846,
    "reverse_mutual_loss": 0.45795622228894806,
    "separation_loss": 1.4716128340507948,
    "shared_enhancement_loss": 0.5142425020595927,
    "soft_identity_loss": 1.633225636514293,
    "symmetric_mutual_loss": 0.9190637731069478,
    "triplet_loss": 3.1266983260981878,
    "weighted_triplet_loss": 1.8700971818520111,
    "weighted_triplet_loss:published": 92.0012677560746,
    "weighted_triplet_loss:relative": 1.3770574252851506,
}


def test_every_loss_is_here():
    named = {name for name in losses.__all__ if name.endswith("_loss")}
    assert {case.split(":")[0] for case in LOSSES} == named


@pytest.mark.parametrize("case", sorted(LOSSES))
def test_a_fixed_input_has_a_fixed_value(case):
    assert LOSSES[case](fixed_input()).item() == pytest.approx(GOLDEN[case], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", sorted(LOSSES))
def test_autocast_changes_nothing(case):
    """Half-precision features, as a network gives them, are widened before anything is computed."""
    half = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in fixed_input().items()
    }
    wide = {name: value.float() if value.is_floating_point() else value for name, value in half.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = LOSSES[case](half)
    assert found.dtype == torch.float32
    assert torch.equal(found, LOSSES[case](wide))
