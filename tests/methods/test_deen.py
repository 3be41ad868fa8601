"""DEEN against a network written straight from the names of the published checkpoints, and its losses by loops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from ivreid.config import make_config
from ivreid.errors import CheckpointError, UsageError
from ivreid.methods import parse_settings
from ivreid.methods.checkpoint_import import import_published
from ivreid.methods.deen import DEE, MFA
from method_batches import scatter, small_batch, small_method


def convolution(low: int, high: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(low, high, 1, stride=stride), nn.BatchNorm2d(high))


class Fusion(nn.Module):
    """One published fusion, with its matrices over pairs; `halves` as the published reshaping, place by place."""

    def __init__(self, high: int, low: int, stride: int, halves: bool) -> None:
        super().__init__()
        self.CNL, self.PNL, self.halves = nn.Module(), nn.Module(), halves
        self.CNL.g, self.CNL.theta = nn.Conv2d(low, low, 1), nn.Conv2d(high, low, 1)
        self.CNL.phi, self.CNL.W = nn.Conv2d(low, low, 1, stride=stride), convolution(low, high, stride)
        self.PNL.g, self.PNL.phi = nn.Conv2d(low, low // 2, 1), nn.Conv2d(low, low // 2, 1)
        self.PNL.theta, self.PNL.W = nn.Conv2d(high, low // 2, 1), convolution(low // 2, high)

    def tokens(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, N, C); in halves token p holds places p and p + N/2 as channels 2c and 2c + 1."""
        flat = maps.flatten(2).transpose(1, 2)
        if not self.halves:
            return flat
        half = flat.shape[1] // 2
        return torch.stack([flat[:, :half], flat[:, half:]], 3).flatten(2)

    def forward(self, h: Tensor, low: Tensor) -> Tensor:
        net = self.CNL
        g, theta, phi = net.g(low), net.theta(h).flatten(2), net.phi(low).flatten(2)
        attention = torch.einsum("bin,bjn->bij", theta, phi) / g.shape[1]
        h = h + net.W(torch.einsum("bij,bjn->bin", attention, g.flatten(2)).reshape(g.shape))
        net = self.PNL
        theta, phi, g = (self.tokens(maps) for maps in (net.theta(h), net.phi(low), net.g(low)))
        y = (theta @ phi.transpose(1, 2) / phi.shape[1]) @ g  # (B, N, C)
        if self.halves:
            both = y.unflatten(2, (-1, 2))
            y = torch.cat([both[..., 0], both[..., 1]], 1)
        return h + net.W(y.transpose(1, 2).reshape(len(h), -1, *h.shape[2:]))


class Expansion(nn.Module):
    """The published expansion in evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for branch in (1, 2):
            for i in (1, 2, 3):
                layer = nn.Conv2d(channels, channels // 4, 3, padding=i, dilation=i, bias=False)
                setattr(self, f"FC{branch}{i}", layer)
            setattr(self, f"FC{branch}", nn.Conv2d(channels // 4, channels, 1))

    def forward(self, t: Tensor) -> list[Tensor]:
        grown = []
        for branch in (1, 2):
            mean = sum(getattr(self, f"FC{branch}{i}")(t) for i in (1, 2, 3)) / 3
            grown.append(getattr(self, f"FC{branch}")(F.relu(mean)))
        return [t, *grown]


class Published(nn.Module):
    """The published network by its names, with the stages that it holds and never uses."""

    def __init__(self, short: bool) -> None:
        super().__init__()
        self.short = short
        for name, inner in (
            ("visible_module", "visible"),
            ("thermal_module", "thermal"),
            ("base_resnet", "base"),
        ):
            net = resnet50()
            del net.fc
            net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
            setattr(self, name, nn.Module())
            setattr(getattr(self, name), inner, net)
        self.MFA1, self.MFA2 = Fusion(256, 64, 1, True), Fusion(512, 256, 2, True)
        if not short:
            self.MFA3 = Fusion(1024, 512, 2, True)
        self.DEE = Expansion(512 if short else 1024)
        width = 1024 if short else 2048
        self.bottleneck = nn.BatchNorm1d(width)
        self.classifier = nn.Linear(width, 395, bias=False)

    def forward(self, images: Tensor, infrared: bool) -> Tensor:
        stem = self.thermal_module.thermal if infrared else self.visible_module.visible
        base = self.base_resnet.base
        t = F.max_pool2d(F.relu(stem.bn1(stem.conv1(images))), 3, 2, 1)
        for stage in (1, 2) if self.short else (1, 2, 3):
            t = getattr(self, f"MFA{stage}")(getattr(base, f"layer{stage}")(t), t)
        chunks = []
        for branch in self.DEE(t):
            x = (base.layer3 if self.short else base.layer4)(branch).mean((2, 3))
            chunks += [F.normalize(x), F.normalize(self.bottleneck(x))]
        return torch.cat(chunks, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("short", "tensors", "dim"), [(False, 1048, 12288), (True, 1022, 6144)])
def test_an_imported_checkpoint_embeds_as_the_published_network(
    short: bool, tensors: int, dim: int, tmp_path: Path
) -> None:
    network = Published(short).eval()
    nn.init.zeros_(network.bottleneck.bias)
    scatter(network, keep=("bottleneck.bias",))
    state = network.state_dict()
    assert len(state) == tensors
    torch.save({"net": state, "mAP": 0.7, "epoch": 130}, tmp_path / "x.t")
    dataset = "regdb" if short else "sysu-mm01"
    imported = import_published(tmp_path / "x.t", "deen", dataset=dataset)
    method = imported.method
    assert (method.num_classes, method.size, method.embedding_dim) == (395, (384, 144), dim)
    assert imported.card["advice"] == {"flip": "unit"}
    assert (imported.card["settings"]["pnl"], imported.card["settings"]["short"]) == ("halves", short)
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    infrared = torch.tensor([False, True, True, False])
    with torch.no_grad():
        expected = torch.cat([network(images[i : i + 1], bool(infrared[i])) for i in range(4)])
        found, swapped = method.embed(images, infrared), method.embed(images, ~infrared)
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(swapped)).abs().max() > 1e-3
    for change, message in (
        ({"bottleneck.bias": state["bottleneck.bias"] + 1}, "'bottleneck.bias' must be 0"),
        ({"DEE.FC14.weight": torch.ones(1)}, "unknown tensor 'DEE.FC14.weight'"),
        ({"DEE.FC12.weight": None}, "'expansion.branches.0.dilated.1.weight' is missing"),
    ):
        torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, tmp_path / "x.t")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.t", "deen", dataset=dataset)


@pytest.mark.parametrize("attention", ["positions", "halves"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_fusion_by_its_definition(attention: str, stride: int) -> None:
    ours = scatter(MFA(12, 8, stride, attention))
    theirs = Fusion(12, 8, stride, attention == "halves")
    renamed = {
        key.replace("channels.", "CNL.")
        .replace("positions.", "PNL.")
        .replace("expand.", "W.0.")
        .replace("norm.", "W.1."): value
        for key, value in ours.state_dict().items()
    }
    theirs.load_state_dict(renamed)
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(3, 8, 6, 4, generator=generator)
    h = torch.randn(3, 12, 6 // stride, 4 // stride, generator=generator)
    torch.testing.assert_close(ours(h, low), theirs(h, low))
    other = scatter(MFA(12, 8, stride, "halves" if attention == "positions" else "positions"))
    assert (other(h, low) - ours(h, low)).abs().max() > 1e-2  # the same weights are another function


def test_the_expansion_by_its_definition() -> None:
    ours, theirs = scatter(DEE(8, 0.0)), Expansion(8)
    for branch in (1, 2):
        mine = ours.branches[branch - 1]
        getattr(theirs, f"FC{branch}").load_state_dict(mine.expand.state_dict())
        for i in (1, 2, 3):
            getattr(theirs, f"FC{branch}{i}").load_state_dict(mine.dilated[i - 1].state_dict())
    t = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(t), torch.cat(theirs(t)))


def centres(x: Tensor, labels: Tensor, rows: Tensor) -> list[Tensor]:
    return [x[(labels == y) & rows].mean(0) for y in labels.unique()]


def centre_mining(a: Tensor, b: Tensor, labels: Tensor, infrared: Tensor) -> float:
    """CPM by loops."""
    (a_v, a_r), (b_v, b_r) = ([centres(x, labels, rows) for rows in (~infrared, infrared)] for x in (a, b))
    count = len(a_v)

    def nearest(table: list[Tensor], i: int) -> Tensor:
        return min((table[i] - table[j]).norm() for j in range(count) if j != i)

    total = 0.0
    for i in range(count):
        u, w = (a_r[i] - b_v[i]).norm(), (a_v[i] - b_r[i]).norm()
        for across, within, one, other in (
            (u, (a_v[i] - b_v[i]).norm(), b_v, a_v),
            (w, (a_r[i] - b_r[i]).norm(), b_r, a_r),
        ):
            bounds = ((within, 1.0), (nearest(one, i), 0.5), (nearest(other, i), 0.5))
            total += sum(weight * max(float(0.2 + across - bound), 0.0) for bound, weight in bounds)
    return total / count / 2


def test_the_loss_terms_by_their_definition() -> None:
    method = small_method("deen")
    images, labels, infrared, view = small_batch("deen")
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}
    x = method.pooled(images, infrared).detach()
    z = method.norm(x).detach()
    tiled, rows = labels.repeat(3), range(3 * len(labels))
    identity = [-F.log_softmax(method.classifier(z[i]), 0)[tiled[i]].item() for i in rows]
    assert terms["identity"] == pytest.approx(sum(identity) / len(rows), rel=1e-4)
    hard = []
    for i in rows:
        far = max(float((x[i] - x[j]).norm()) for j in rows if tiled[i] == tiled[j])
        near = min(float((x[i] - x[j]).norm()) for j in rows if tiled[i] != tiled[j])
        hard.append(max(0.3 + far - near, 0))
    assert terms["triplet"] == pytest.approx(sum(hard) / len(hard), rel=1e-4)
    first, second, third = x.split(len(labels))
    mined = sum(centre_mining(first, other, labels, infrared) for other in (second, third))
    assert terms["centre"] == pytest.approx(0.8 * mined, rel=1e-4)
    right = sum(float(p @ q) for p, q in zip(second, third, strict=True)) / len(rows)
    assert terms["orthogonality"] == pytest.approx(0.01 * right, rel=1e-4)


def test_chunks_are_of_length_one_in_the_published_order() -> None:
    method = scatter(small_method("deen")).eval()
    images, _, infrared, _ = small_batch("deen")
    with torch.no_grad():
        x = method.pooled(images, infrared).chunk(3)
        expected = [F.normalize(kind) for one in x for kind in (one, method.norm(one))]
        found = method.embed(images, infrared)
    torch.testing.assert_close(found, torch.cat(expected, 1))
    torch.testing.assert_close(found.square().sum(1), torch.full((16,), 6.0))
    assert small_method("deen", chunks="z").embedding_dim == method.embedding_dim // 2


def test_published_quirks_mean_halves_and_change_the_embedding() -> None:
    assert parse_settings("deen", {}).pnl == "positions"
    assert parse_settings("deen", {"published_quirks": True}).pnl == "halves"
    assert parse_settings("deen", {"published_quirks": True, "pnl": "positions"}).pnl == "positions"
    images, _, infrared, _ = small_batch("deen")
    embedded = []
    for quirks in (False, True):
        method = scatter(small_method("deen", published_quirks=quirks)).eval()
        with torch.no_grad():
            embedded.append(method.embed(images, infrared))
    assert (embedded[0] - embedded[1]).abs().max() > 1e-3


def test_halves_of_an_odd_map_are_refused() -> None:
    method = small_method("deen", pnl="halves")
    with pytest.raises(UsageError, match="even number of places, this one has 5x3"):
        method.embed(torch.zeros(2, 3, 80, 48), torch.tensor([True, False]))


def test_the_short_network_has_no_last_stage_and_recipes_know_it() -> None:
    method = small_method("deen", short=True, backbone="resnet18")
    assert method.embedding_dim == 6 * 256
    assert not any("layer4" in key or "fusion.layer3" in key for key in method.state_dict())
    regdb = make_config({"recipe": "deen", "data": {"dataset": "regdb"}})
    sysu = make_config({"recipe": "deen-published"})
    assert (regdb.method["short"], regdb.method["pnl"]) == (True, "positions")
    assert (sysu.method["short"], sysu.method["pnl"]) == (False, "halves")
    assert regdb.augment.kind("infrared").erasing_area == (0.02, 0.4)
    assert sysu.augment.kind("infrared").erasing_area == (0.2, 0.8)
    assert (sysu.schedule.milestones, sysu.schedule.warmup, sysu.batch.size) == ((20, 80), 9, 48)
