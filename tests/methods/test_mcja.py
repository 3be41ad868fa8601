"""MCJA against a network written straight from the names of the published checkpoints, and its losses by loops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from ivreid.config import make_config
from ivreid.errors import CheckpointError, ConfigError, TrainingError
from ivreid.methods import parse_settings
from ivreid.methods.checkpoint_import import import_published
from ivreid.methods.mcja import MDA
from method_batches import scatter, small_batch, small_method


class Attention(nn.Module):
    """One published attention, mask by mask."""

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.sc_conv = nn.Conv2d(channels, masks, 1)
        self.ca_conv = nn.Conv1d(channels, channels, masks, groups=channels, bias=False)
        self.ca_bn, self.norm_bn = nn.BatchNorm1d(channels), nn.BatchNorm2d(channels)

    def forward(self, t: Tensor) -> Tensor:
        masks = self.sc_conv(t)
        total = torch.zeros(t.shape[:2])
        for number in range(masks.shape[1]):
            power = masks[:, number].exp()
            share = power / power.sum((1, 2), keepdim=True)
            total = total + self.ca_conv.weight[:, 0, number] * (share[:, None] * t).sum((2, 3))
        return t + self.norm_bn(torch.sigmoid(self.ca_bn(total))[:, :, None, None] * t)


class Published(nn.Module):
    """The published network by its names."""

    def __init__(self, masks: int) -> None:
        super().__init__()
        self.backbone = resnet50()
        self.MDA_2 = nn.ModuleList(Attention(512, masks) for _ in range(2))
        self.MDA_3 = nn.ModuleList(Attention(1024, masks) for _ in range(3))
        self.bn_neck = nn.BatchNorm1d(2048)
        self.classifier = nn.Linear(2048, 395, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        net = self.backbone
        x = net.layer1(F.max_pool2d(F.relu(net.bn1(net.conv1(images))), 3, 2, 1))
        for stage, attentions, first in ((net.layer2, self.MDA_2, 2), (net.layer3, self.MDA_3, 3)):
            for number, block in enumerate(stage):
                x = block(x)
                x = attentions[number - first](x) if number >= first else x
        x = net.layer4(x)
        return self.bn_neck((x.pow(3).mean((2, 3)) + 1e-12) ** (1 / 3))


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "masks"), [("sysu-mm01", 2), ("regdb", 12)])
def test_an_imported_checkpoint_embeds_as_the_published_network(
    dataset: str, masks: int, tmp_path: Path
) -> None:
    network = scatter(Published(masks), keep=("bn_neck.bias",)).eval()
    state = network.state_dict()
    assert len(state) == 391
    torch.save(state, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "mcja", dataset=dataset)
    method = imported.method
    assert (method.num_classes, method.size, method.embedding_dim) == (395, (384, 192), 2048)
    assert (imported.card["settings"]["masks"], imported.card["settings"]["last_stride"]) == (masks, 2)
    assert set(imported.ignored) == {
        "backbone.fc.weight",
        "backbone.fc.bias",
        "bn_neck.bias",
        "classifier.weight",
    }
    images = torch.randn(4, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), method.embed(images, torch.tensor([True, False] * 2))
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(expected).mean(0)).abs().max() > 1e-3
    if dataset == "regdb":
        return
    assert import_published(tmp_path / "x.pth", "mcja", last_stride=1).card["settings"]["last_stride"] == 1
    for change, message in (
        ({"bn_neck.bias": torch.ones(2048)}, "'bn_neck.bias' must be 0"),
        ({"MDA_2.2.ca_bn.weight": torch.ones(1)}, "unknown tensor 'MDA_2.2.ca_bn.weight'"),
        ({"MDA_3.1.sc_conv.bias": None}, "'backbone.layer3.4.after.masks.bias' is missing"),
    ):
        torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.pth", "mcja")


@pytest.mark.parametrize("masks", [1, 3])
def test_the_attention_by_its_definition(masks: int) -> None:
    ours, theirs = MDA(8, masks), Attention(8, masks)
    t = torch.randn(5, 8, 4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(t), t)  # a new one changes nothing
    scatter(ours)
    names = {"masks": "sc_conv", "mix": "ca_conv", "gate_norm": "ca_bn", "norm": "norm_bn"}
    theirs.load_state_dict(
        {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in ours.state_dict().items()}
    )
    for training in (True, False):
        found, expected = ours.train(training)(t), theirs.train(training)(t)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert (found - t).abs().max() > 0.1


def soft_ranks(distances: list[float], strength: float = 0.5) -> list[float]:
    """The l2 soft ranks: d / strength projected onto the permutahedron, by isotonic regression's formula."""
    n = len(distances)
    order = sorted(range(n), key=lambda i: -distances[i])
    gaps = [distances[i] / strength - (n - place) for place, i in enumerate(order)]

    def mean(first: int, last: int) -> float:
        return sum(gaps[first : last + 1]) / (last + 1 - first)

    ranks = [0.0] * n
    for place, i in enumerate(order):
        fitted = min(max(mean(j, k) for k in range(place, n)) for j in range(place + 1))
        ranks[i] = distances[i] / strength - fitted
    return ranks


def test_soft_ranks_of_values_far_apart_are_ranks() -> None:
    assert soft_ranks([0.0, 100.0, 50.0], 0.5) == pytest.approx([1, 3, 2])


def test_the_loss_terms_by_their_definition() -> None:
    method = small_method("mcja")
    images, labels, infrared, view = small_batch("mcja")
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}
    z = method.embed(images, infrared).detach()
    identity = [-F.log_softmax(method.classifier(row), 0)[y].item() for row, y in zip(z, labels, strict=True)]
    assert terms["identity"] == pytest.approx(sum(identity) / len(identity), rel=1e-4)
    sides = []
    for own in (infrared, ~infrared):
        off = []
        candidates, wanted = z[~own], labels[~own]
        for row, y in zip(z[own], labels[own], strict=True):
            cosines = F.cosine_similarity(row[None], candidates).tolist()
            ranks = soft_ranks([(1 - cosine) / 2 for cosine in cosines])
            off += [abs(r - (1 if w == y else len(ranks))) for r, w in zip(ranks, wanted, strict=True)]
        sides.append(sum(off) / len(off))
    assert terms["retrieval"] == pytest.approx(sum(sides) / 2, rel=1e-4)
    weighted = small_method("mcja", identity_weight=0.5, cmr_weight=2.0)(images, labels, infrared, view)
    assert weighted["identity"].item() == pytest.approx(0.5 * terms["identity"], rel=1e-5)
    assert weighted["retrieval"].item() == pytest.approx(2 * terms["retrieval"], rel=1e-5)


def test_the_stride_of_the_last_stage_is_the_published_one() -> None:
    assert parse_settings("mcja", {}).last_stride == 2
    assert parse_settings("mcja", {"last_stride": 1}).last_stride == 1
    assert parse_settings("mcja", {"backbone": "convnext_tiny"}).last_stride is None
    with pytest.raises(ConfigError, match="last_stride"):
        parse_settings("mcja", {"last_stride": 3})


def test_too_few_images_of_a_modality_are_refused_with_the_reason() -> None:
    images, labels, infrared, view = small_batch("mcja")
    with pytest.raises(TrainingError, match="needs 4 or more images of each modality"):
        small_method("mcja")(images, labels, infrared & (labels == 0), view)


def test_recipes_by_dataset() -> None:
    sysu = make_config({"recipe": "mcja"})
    regdb = make_config({"recipe": "mcja-published", "data": {"dataset": "regdb"}})
    assert (sysu.batch.sampler, sysu.batch.identities, sysu.batch.images, sysu.batch.size) == (
        "identity",
        8,
        16,
        128,
    )
    assert (regdb.batch.identities, regdb.batch.images, regdb.batch.size) == (4, 32, 128)
    assert (sysu.epochs, sysu.schedule.milestones, sysu.method["masks"]) == (140, (80, 120), 2)
    assert (regdb.epochs, regdb.schedule.name, regdb.method["masks"]) == (300, "constant", 12)
    visible, infrared = sysu.augment.kind("visible"), sysu.augment.kind("infrared")
    assert len(visible.colour_choice) == 4
    assert all(getattr(visible, name) == 0.5 for name in visible.colour_choice)
    assert (visible.hue, visible.brightness, visible.contrast, visible.saturation) == (0.2, 0.0, 0.0, 0.0)
    assert infrared.colour_choice == () and infrared.jitter == 0.0
    assert infrared.erasing_area == visible.erasing_area == (0.02, 0.3)
    assert (sysu.precision, regdb.precision, regdb.validation.every) == ("auto", "fp16", 1)
