"""MPANet against a network written straight from the names of the published checkpoints, and its losses by loops."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
import torch
from alleviated_network import add_classifiers, alleviated_resnet50, centre_loss, feature_map, moved_heads
from torch import Tensor, nn
from torch.nn import functional as F

from ivreid.config import make_config
from ivreid.errors import CheckpointError, TrainingError, UsageError
from ivreid.methods.checkpoint_import import import_published
from method_batches import scatter, small_batch, small_method


class Published(nn.Module):
    """The published network by its names."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = alleviated_resnet50()
        self.spatial_attention = nn.Conv2d(2048, 6, 1)
        self.bn_neck = nn.BatchNorm1d(14336)
        add_classifiers(self, 14336, 395)

    def forward(self, images: Tensor) -> Tensor:
        x = feature_map(self.backbone, images)
        masks = torch.sigmoid(self.spatial_attention(x))
        parts = [(masks[:, p : p + 1] * x).mean((2, 3)) for p in range(6)]
        return self.bn_neck(torch.cat([*parts, x.mean((2, 3))], 1))


@pytest.mark.slow
def test_an_imported_checkpoint_embeds_as_the_published_network(tmp_path: Path) -> None:
    network = Published().eval()
    nn.init.zeros_(network.bn_neck.bias)
    scatter(network, keep=("bn_neck.bias",))
    state = network.state_dict()
    assert len(state) == 334
    torch.save(state, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "mpanet")
    assert (imported.method.num_classes, imported.method.size) == (395, (384, 128))
    assert "advice" not in imported.card
    assert set(imported.ignored) == {key for key in state if "classifier" in key} | {"bn_neck.bias"}
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), imported.method.embed(images, torch.tensor([True, False] * 2))
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(expected).mean(0)).abs().max() > 1e-3
    assert import_published(tmp_path / "x.pth", "mpanet", dataset="regdb").method.size == (256, 128)
    for change, message in (
        ({"bn_neck.bias": torch.ones(14336)}, "'bn_neck.bias' must be 0"),
        ({"backbone.MAM2.channel_attention.0.weight": torch.ones(1)}, "unknown tensor 'backbone.MAM2"),
        ({"spatial_attention.bias": None}, "'masks.bias' is missing"),
    ):
        torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.pth", "mpanet")


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.2), (98, 0.2), (99, 0.2 * 100 / 101), (198, 0.1)])
def test_the_loss_terms_by_their_definition(epoch: int, rate: float) -> None:
    method = small_method("mpanet")
    images, labels, infrared, view = small_batch("mpanet")
    heads = moved_heads(method)
    method.begin_epoch(epoch)
    method.begin_step()
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}

    maps = method.backbone(images).detach()
    masks = torch.sigmoid(method.masks(maps)).detach()
    x = torch.cat([*((masks[:, p : p + 1] * maps).mean((2, 3)) for p in range(6)), maps.mean((2, 3))], 1)
    z = method.norm(x).detach()
    rows = range(len(labels))
    identity = [-F.log_softmax(method.classifier(z[i]), 0)[labels[i]].item() for i in rows]
    assert terms["identity"] == pytest.approx(sum(identity) / len(rows), rel=1e-4)
    assert terms["centre"] == pytest.approx(centre_loss(x, labels, 0.0, 0.7), rel=1e-4)
    overlaps = [float((m[p] * m[q]).sum()) for m in masks for p, q in combinations(range(6), 2)]
    assert len(overlaps) == 15 * len(rows)
    assert terms["separation"] == pytest.approx(0.5 * sum(overlaps) / len(overlaps), rel=1e-4)

    modality = mutual = 0.0
    for i in rows:
        own, other = ("infrared", "visible") if infrared[i] else ("visible", "infrared")
        copy = (1 - rate) * heads[other][1] + rate * heads[other][0]
        p, q = F.log_softmax(heads[own][0] @ z[i], 0), F.log_softmax(copy @ z[i], 0)
        mutual += float((p.exp() * (p - q)).sum()) / len(rows)
        modality += -float(p[labels[i]]) / (len(rows) / 2)
    assert terms["mutual"] == pytest.approx(2.5 * mutual, rel=1e-4)
    assert terms["modality"] == pytest.approx(modality, rel=1e-4)


def test_without_masks_and_alleviation_it_is_a_plain_network() -> None:
    method = small_method("mpanet", part_masks=False, alleviation=[], backbone="resnet18")
    assert method.embedding_dim == 512
    assert not any("masks" in key or "alleviation" in key for key in method.state_dict())
    batch = small_batch("mpanet")
    terms = method(*batch)
    assert set(terms) == {"identity", "centre", "modality", "mutual"}
    x = method.backbone(batch.images).mean((2, 3))
    expected = F.batch_norm(x, None, None, method.norm.weight, training=True)
    torch.testing.assert_close(method.embed(batch.images, batch.infrared), expected)


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"alleviation = \[3, 5\]: resnet18 has stages 1 to 4, not 5"):
        small_method("mpanet", alleviation=[3, 5], backbone="resnet18")
    images, labels, infrared, view = small_batch("mpanet")
    with pytest.raises(TrainingError, match="mpanet needs images of both modalities, got 0 visible and 16"):
        small_method("mpanet")(images, labels, infrared | True, view)


def test_recipes_by_dataset() -> None:
    sysu = make_config({"recipe": "mpanet"})
    regdb = make_config({"recipe": "mpanet-published", "data": {"dataset": "regdb"}})
    assert (sysu.data.size, sysu.batch.size, sysu.schedule.milestones) == ((384, 128), 128, (80, 120))
    assert (regdb.data.size, regdb.batch.size, regdb.schedule.milestones) == ((256, 128), 120, (110,))
    assert (sysu.precision, regdb.precision) == ("auto", "fp16")
    assert sysu.augment.kind("infrared").padding_fill == 127
