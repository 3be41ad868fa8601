"""SAAI against a network written straight from the names of the published checkpoints, and its losses by loops."""

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
from ivreid.errors import CheckpointError, UsageError
from ivreid.methods import restore
from ivreid.methods.checkpoint_import import import_published
from ivreid.models import write_weights
from method_batches import scatter, small_batch, small_method


class Published(nn.Module):
    """The published network by its names; its table has one entry for each place of an image of 288x144."""

    def __init__(self, stages: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = alleviated_resnet50(stages)
        self.attn_pool = nn.Module()
        self.attn_pool.part_tokens = nn.Parameter(0.02 * torch.randn(7, 2048))
        self.attn_pool.pos_embeding = nn.Parameter(0.02 * torch.randn(162, 2048))
        self.bn_neck = nn.Module()
        self.bn_neck.bn_neck_v, self.bn_neck.bn_neck_i = nn.BatchNorm1d(16384), nn.BatchNorm1d(16384)
        add_classifiers(self, 16384, 395)

    def forward(self, images: Tensor, infrared: bool) -> Tensor:
        maps = feature_map(self.backbone, images)
        places = maps.flatten(2)
        parts = []
        for token in self.attn_pool.part_tokens:
            looked = torch.stack(
                [
                    torch.sigmoid((places[:, :, n] + self.attn_pool.pos_embeding[n]) @ token)
                    for n in range(162)
                ],
                1,
            )
            parts.append((looked[:, None] * places).sum(2) / 162)
        neck = self.bn_neck.bn_neck_i if infrared else self.bn_neck.bn_neck_v
        return neck(torch.cat([*parts, maps.mean((2, 3))], 1))


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "dataset", "tensors"), [((3, 4), "sysu-mm01", 339), ((), "regdb", 335)])
def test_an_imported_checkpoint_embeds_as_the_published_network(
    stages: tuple[int, ...], dataset: str, tensors: int, tmp_path: Path
) -> None:
    network = Published(stages).eval()
    kept = ("bn_neck.bn_neck_v.bias", "bn_neck.bn_neck_i.bias")
    scatter(network, keep=kept)
    state = network.state_dict()
    assert len(state) == tensors
    torch.save(state, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "saai", dataset=dataset)
    method = imported.method
    assert (method.num_classes, method.size, method.embedding_dim) == (395, (288, 144), 16384)
    assert set(imported.ignored) == {key for key in state if "classifier" in key} | set(kept)
    assert imported.card["settings"]["grid"] == [18, 9]
    images = torch.randn(2, 3, 288, 144, generator=torch.Generator().manual_seed(1))
    infrared = torch.tensor([False, True])
    with torch.no_grad():
        expected = torch.cat([network(images[i : i + 1], bool(infrared[i])) for i in range(2)])
        found, swapped = method.embed(images, infrared), method.embed(images, ~infrared)
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(swapped)).abs().max() > 1e-3
    with torch.no_grad():  # other images: the table is interpolated
        assert method.embed(images[:, :, :128, :64], infrared).shape == (2, 16384)
    for change, message in (
        ({kept[1]: torch.ones(16384)}, "'bn_neck.bn_neck_i.bias' must be 0"),
        ({"attn_pool.extra": torch.ones(1)}, "unknown tensor 'attn_pool.extra'"),
        ({"bn_neck.bn_neck_i.weight": None}, "'norm.infrared.weight' is missing"),
    ):
        torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.pth", "saai")


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.02), (198, 0.01)])
def test_the_loss_terms_by_their_definition(epoch: int, rate: float) -> None:
    method = small_method("saai")
    images, labels, infrared, view = small_batch("saai")
    with torch.no_grad():
        method.norm.infrared.weight.mul_(1.5)
    heads = moved_heads(method)
    method.begin_epoch(epoch)
    method.begin_step()
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}

    maps = method.backbone(images).detach().flatten(2)  # (B, D, N)
    places = maps.shape[2]
    a = torch.stack(
        [((maps[:, :, n] + method.positions[n]) @ method.tokens.T).sigmoid() for n in range(places)], 2
    ).detach()
    parts = [sum(a[:, p, n, None] * maps[:, :, n] for n in range(places)) / places for p in range(7)]
    x = torch.cat([*parts, maps.mean(2)], 1)
    z = torch.empty_like(x)
    for rows, norm in ((infrared, method.norm.infrared), (~infrared, method.norm.visible)):
        spread = x[rows].var(0, unbiased=False)
        z[rows] = (norm.weight * (x[rows] - x[rows].mean(0)) / (spread + 1e-5).sqrt()).detach()

    count = len(labels)
    identity = [-F.log_softmax(method.classifier(z[i]), 0)[labels[i]].item() for i in range(count)]
    assert terms["identity"] == pytest.approx(sum(identity) / count, rel=1e-3)
    assert terms["centre"] == pytest.approx(centre_loss(x, labels, 0.01, 0.7), rel=1e-4)
    apart = [float((m[p] - m[q]).square().mean().sqrt()) for m in a for p, q in combinations(range(7), 2)]
    assert len(apart) == 21 * count
    assert terms["diversity"] == pytest.approx(-0.25 * sum(apart) / len(apart), rel=1e-4)
    modality = consistency = 0.0
    for i in range(count):
        own, other = ("infrared", "visible") if infrared[i] else ("visible", "infrared")
        copy = (1 - rate) * heads[other][1] + rate * heads[other][0]
        log_p, q = F.log_softmax(heads[own][0] @ z[i], 0), F.softmax(copy @ z[i], 0)
        consistency += -float((q * log_p).sum()) / count
        modality += -float(log_p[labels[i]]) / (count / 2)
    assert terms["modality"] == pytest.approx(modality, rel=1e-3)
    assert terms["consistency"] == pytest.approx(consistency, rel=1e-3)


def test_other_images_than_the_tables_are_refused_or_interpolated() -> None:
    images, _, infrared, _ = small_batch("saai")
    larger = torch.nn.functional.interpolate(images, size=(192, 128))
    with pytest.raises(
        UsageError, match=r"map of 6x4 places, the position table is for 4x2.*grid to \[4, 2\]"
    ):
        small_method("saai")(larger, torch.arange(4).repeat_interleave(4), infrared)
    method = small_method("saai", grid=[4, 2]).eval()
    with torch.no_grad():
        assert torch.equal(
            method.embed(images, infrared), small_method("saai").eval().embed(images, infrared)
        )
        assert method.embed(larger, infrared).shape == (16, 8 * 96)


def test_a_network_for_another_size_is_restored_with_its_table(tmp_path: Path) -> None:
    method = small_method("saai")
    assert tuple(method.positions.shape) == (4 * 2, 96)
    write_weights(tmp_path / "w.safetensors", method.state_dict(), method.card())
    assert restore(tmp_path / "w.safetensors")[0].grid == (4, 2)


def test_recipes_by_dataset() -> None:
    sysu, regdb = (
        make_config({"recipe": "saai", "data": {"dataset": name}}) for name in ("sysu-mm01", "regdb")
    )
    assert (sysu.batch.size, list(sysu.method["alleviation"])) == (80, [3, 4])
    assert (regdb.batch.size, list(regdb.method["alleviation"])) == (32, [])
    assert sysu.augment.kind("visible").channel_exchange == pytest.approx(3 / 11)
    assert sysu.augment.kind("visible").erasing_fill == "noise"
