"""DNS against a network written straight from the names of the published checkpoints, and its losses by loops."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from ivreid.config import make_config
from ivreid.errors import CheckpointError, TrainingError
from ivreid.methods import restore
from ivreid.methods.checkpoint_import import import_published
from ivreid.methods.dns import CSS, HSS
from ivreid.models import write_weights
from method_batches import scatter, small_batch, small_method


class Gate(nn.Module):
    """One published gate: the shift is added to the map before the means."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channel_attention = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.Hardswish()
        )
        self.conv_h, self.conv_w = (nn.Conv2d(width, channels, 1, bias=False) for _ in range(2))

    def forward(self, t: Tensor) -> Tensor:
        h, _ = t.shape[2:]
        by_row = t.max(3, keepdim=True).values.softmax(2)  # (B, C, h, 1)
        by_column = t.max(2, keepdim=True).values.softmax(3)  # (B, C, 1, w)
        shifted = t + by_row @ by_column
        line = torch.cat([shifted.mean(3), shifted.mean(2)], 2)[..., None]
        line = self.channel_attention(line)
        row, column = line[:, :, :h], line[:, :, h:]
        return t * torch.sigmoid(self.conv_h(row)) * torch.sigmoid(self.conv_w(column)).transpose(2, 3)


class Published(nn.Module):
    """The published network by its names."""

    def __init__(self) -> None:
        super().__init__()
        for outer, inner in (("visible", "visible"), ("thermal", "thermal")):
            tower, whole = nn.Module(), resnet50()
            kept = nn.Module()
            for name in ("conv1", "bn1", "layer1", "layer2"):
                setattr(kept, name, getattr(whole, name))
            setattr(tower, inner, kept)
            setattr(self, outer, tower)
        whole = resnet50()
        whole.layer4[0].conv2.stride = whole.layer4[0].downsample[0].stride = (1, 1)
        self.base = nn.Module()
        self.base.base = nn.Module()
        for name in ("layer1", "layer2", "layer3", "layer4"):
            setattr(self.base.base, name, getattr(whole, name))
        self.base.HSS3, self.base.HSS4 = Gate(1024, 32), Gate(2048, 64)
        self.bottleneck = nn.BatchNorm1d(2048)
        self.CSS = nn.Module()
        self.CSS.mlp = nn.Sequential(
            *(nn.LayerNorm(2048), nn.Linear(2048, 8192), nn.GELU(), nn.Dropout(), nn.Linear(8192, 2048))
        )
        self.classifier = nn.Linear(2048, 395, bias=False)
        self.DD = nn.Module()
        for name in ("visible", "infrared"):
            for end in ("", "_"):
                setattr(self.DD, f"{name}_classifier{end}", nn.Linear(2048, 395, bias=False))

    def forward(self, images: Tensor, infrared: bool) -> Tensor:
        tower = self.thermal.thermal if infrared else self.visible.visible
        x = F.max_pool2d(F.relu(tower.bn1(tower.conv1(images))), 3, 2, 1)
        x = tower.layer2(tower.layer1(x))
        x = self.base.HSS3(self.base.base.layer3(x))
        x = self.base.HSS4(self.base.base.layer4(x))
        return self.bottleneck((x.pow(3).mean((2, 3)) + 1e-12) ** (1 / 3))


@pytest.mark.slow
def test_an_imported_checkpoint_embeds_as_the_published_network(tmp_path: Path) -> None:
    network = scatter(Published()).eval()
    state = network.state_dict()
    assert len(state) == 632
    torch.save({"net": state, "mAP": 0.74, "epoch": 97}, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "dns")
    assert imported.method.num_classes == 395
    assert imported.method.size == (288, 144)
    assert imported.card["advice"] == {"flip": "unit"}
    assert imported.card["preprocessing"]["resize"] == "lanczos"
    assert len(imported.ignored) == 60 + 78 + 6 + 1 + 4
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    infrared = torch.tensor([False, True, True, False])
    with torch.no_grad():
        expected = torch.stack([network(images[i : i + 1], bool(infrared[i]))[0] for i in range(4)])
        found = imported.method.embed(images, infrared)
        swapped = imported.method.embed(images, ~infrared)
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(swapped)).abs().max() > 1e-3
    for change, message in (
        ({"base.HSS3.extra": torch.zeros(1)}, "unknown tensor 'base.HSS3.extra'"),
        ({"bottleneck.weight": None}, r"it lacks 'bottleneck.weight'"),
        ({"base.HSS4.conv_w.weight": None}, "'gates.layer4.columns.weight' is missing"),
        ({"base.HSS4.conv_w.weight": torch.zeros(1)}, "'gates.layer4.columns.weight' has shape (1,)"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.pth", "dns")


def test_the_gate_by_its_definition() -> None:
    ours, theirs = scatter(HSS(64)), Gate(64, 8)
    theirs.load_state_dict(
        {
            {
                "squeeze.weight": "channel_attention.0.weight",
                "rows.weight": "conv_h.weight",
                "columns.weight": "conv_w.weight",
            }.get(key, key.replace("norm", "channel_attention.1")): value
            for key, value in ours.state_dict().items()
        }
    )
    t = 3 * torch.randn(5, 64, 6, 4, generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(t), theirs.train(training)(t))


def test_the_shift_by_its_definition() -> None:
    shift = CSS(6, 0.0)
    norm, first, _, _, second, _ = shift.layers
    v = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    for row, found in zip(v, shift(v), strict=True):
        raised = row + row.exp() / row.exp().sum()
        raised = (
            norm.weight * (raised - raised.mean()) / (raised.var(unbiased=False) + 1e-5).sqrt() + norm.bias
        )
        inner = first.weight @ raised + first.bias
        assert len(inner) == 24
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        torch.testing.assert_close(found, second.weight @ inner + second.bias)


def discrepancy(a: Tensor, b: Tensor) -> float:
    """Maximum mean discrepancy by loops."""
    rows = [row / row.norm() for row in (*a, *b)]
    n = len(rows)
    q = [[float((r - s).square().sum()) for s in rows] for r in rows]
    w = sum(map(sum, q)) / (n * n - n)
    k = [[sum(math.exp(-v / (w * 2**i)) for i in range(-2, 3)) for v in line] for line in q]
    own, other = range(len(a)), range(len(a), n)

    def mean(first: range, second: range) -> float:
        return sum(k[i][j] for i in first for j in second) / (len(first) * len(second))

    return mean(own, own) + mean(other, other) - 2 * mean(own, other)


def test_the_loss_terms_by_their_definition() -> None:
    method = small_method("dns")
    images, labels, infrared, view = small_batch("dns")
    heads = {name: getattr(method.heads, name).weight.detach() for name in ("visible", "infrared")}
    slow = {name: getattr(method.heads, f"ema_{name}").weight.clone() for name in heads}
    assert all(torch.equal(slow[name], heads[name]) for name in heads)
    with torch.no_grad():  # heads that have moved since
        for head in heads.values():
            head.add_(torch.randn(head.shape, generator=torch.Generator().manual_seed(2)))
    method.begin_step()
    slow = {name: 0.8 * slow[name] + 0.2 * heads[name] for name in heads}
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}

    maps = method.maps(images, infrared).detach()
    x = (maps.pow(3).mean((2, 3)) + 1e-12) ** (1 / 3)
    z, shifted = method.norm(x).detach(), method.shift(maps.mean((2, 3))).detach()
    rows = range(len(labels))
    identity = [-F.log_softmax(method.classifier(z[i]), 0)[labels[i]].item() for i in rows]
    assert terms["identity"] == pytest.approx(sum(identity) / len(rows), rel=1e-4)

    anchors = []
    for i in rows:
        a, b = 0.0, 0.0
        for j in rows:
            s = float(F.cosine_similarity(z[i], z[j], 0))
            if j != i and labels[i] == labels[j]:
                a += math.exp(64 * max(1 + 0.5 - s, 0) * (1 - 0.5 - s))
            if labels[i] != labels[j]:
                b += math.exp(64 * max(0.5 + s, 0) * (s - 0.5))
        anchors.append(math.log1p(a * b))
    assert terms["circle"] == pytest.approx(sum(anchors) / len(rows) / len(rows), rel=1e-3)

    v, r = ~infrared, infrared
    inter = discrepancy(x[v], x[r]) + discrepancy(shifted[v], shifted[r])
    intra = discrepancy(x[v], shifted[v]) + discrepancy(x[r], shifted[r])
    assert terms["alignment"] == pytest.approx(0.2 * (0.45 * inter + 0.05 * intra), rel=1e-3)

    taught = 0.0
    for f in (z, shifted):
        for i in rows:
            own, other = ("infrared", "visible") if infrared[i] else ("visible", "infrared")
            p, q = (F.log_softmax(w @ f[i], 0) for w in (heads[own], slow[other]))
            taught += float((p.exp() * (p - q)).sum()) / len(rows)
            taught += 0.25 * -float(p[labels[i]]) / (len(rows) / 2)
    assert terms["teaching"] == pytest.approx(taught, rel=1e-4)


def test_teachers_receive_nothing_and_students_learn_from_both_features() -> None:
    method = small_method("dns", head_weight=0.0, align_weight=0.0, circle_weight=0.0)
    with torch.no_grad():
        method.heads.infrared.weight.mul_(3)
    batch = small_batch("dns")
    for kept in ("norm", "shift"):  # the other feature's term is constant where its feature is
        method.zero_grad()
        method(*batch)["teaching"].backward()
        for module in (method.heads, getattr(method, kept)):
            assert all(p.grad.abs().max() > 0 for p in module.parameters())
        assert method.classifier.weight.grad is None


def test_the_circle_weight_is_one_over_the_batch_unless_given() -> None:
    batch = small_batch("dns")
    one = small_method("dns")(*batch)["circle"].item()
    given = small_method("dns", circle_weight=1.0)(*batch)["circle"].item()
    assert given == pytest.approx(one * len(batch.labels), rel=1e-5)


def test_a_batch_of_one_modality_is_refused() -> None:
    images, labels, infrared, view = small_batch("dns")
    with pytest.raises(TrainingError, match="dns needs images of both modalities, got 16 visible and 0"):
        small_method("dns")(images, labels, infrared & False, view)


def test_rates_are_the_published_ones() -> None:
    groups = small_method("dns").parameter_groups(0.2)
    assert {g["name"]: g["lr"] for g in groups} == pytest.approx(
        {"heads": 0.2, "last_stage": 0.05, "shared_stages": 0.04, "others": 0.02}
    )
    assert [len(g["params"]) for g in groups if g["name"] == "heads"] == [5]


def test_the_recipes_augmentation_by_dataset_and_the_published_stage() -> None:
    kinds = {}
    for dataset in ("sysu-mm01", "regdb", "llcm"):
        for name in ("dns", "dns-published"):
            config = make_config({"recipe": name, "data": {"dataset": dataset}})
            assert config.augment.channel_stage == ("normalized" if name == "dns-published" else "raw")
            assert config.method["published_quirks"] is (name == "dns-published")
            assert config.augment.kind("infrared").channel_exchange == 0
        visible = config.augment.kind("visible")
        kinds[dataset] = (visible.erasing, visible.channel_erasing, visible.channel_exchange, visible.grey)
        assert visible.exclusive
        assert visible.erasing_area == (0.02, 0.33)
    assert kinds["sysu-mm01"] == pytest.approx((0.5, 0.5, 1 / 2, 1 / 6))
    assert kinds["regdb"] == pytest.approx((0.5, 0, 2 / 3, 0))
    assert kinds["llcm"] == pytest.approx((0, 0.5, 2 / 3, 0))


def test_other_networks_than_resnets_give_finite_losses() -> None:
    """Their maps have values below 0, of which a generalised mean would be NaN."""
    method = small_method("dns", backbone="test_efficientnet")
    terms = method(*small_batch("dns"))
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_a_network_larger_than_its_file_is_refused_before_it_is_built(tmp_path: Path) -> None:
    method = small_method("dns")
    tensors = {k: v for k, v in method.state_dict().items() if not k.startswith(method.training_only)}
    write_weights(tmp_path / "w.safetensors", tensors, {**method.card(), "num_classes": 100_000})
    with pytest.raises(CheckpointError, match=r"a network of [0-9,]+: it is refused"):
        restore(tmp_path / "w.safetensors")
