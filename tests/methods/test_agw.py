"""AGW and its kin against a network written straight from the names of the published checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from ivreid import methods
from ivreid.config import make_config
from ivreid.errors import CheckpointError, TrainingError
from ivreid.losses import adaptive_triplet_loss, soft_identity_loss, triplet_loss, weighted_triplet_loss
from ivreid.methods.checkpoint_import import import_published
from ivreid.training.schedule import rate_factor


class Attention(nn.Module):
    """One published non-local block, with its N x N matrix."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.theta, self.phi = nn.Conv2d(channels, width, 1), nn.Conv2d(channels, width, 1)
        self.W = nn.Sequential(nn.Conv2d(width, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, t: Tensor) -> Tensor:
        g, theta, phi = (f(t).flatten(2) for f in (self.g, self.theta, self.phi))
        pairs = theta.transpose(1, 2) @ phi / g.shape[2]
        y = (pairs @ g.transpose(1, 2)).transpose(1, 2).reshape(len(t), -1, *t.shape[2:])
        return t + self.W(y)


class Published(nn.Module):
    """The published network by its names; the parts of the copies that it never uses are left out."""

    def __init__(self, width: int, attention: bool = True) -> None:
        super().__init__()
        self.visible_module, self.thermal_module, self.base_resnet = nn.Module(), nn.Module(), nn.Module()
        self.visible_module.visible, self.thermal_module.thermal = nn.Module(), nn.Module()
        for stem in (self.visible_module.visible, self.thermal_module.thermal):
            stem.conv1, stem.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        base = self.base_resnet.base = resnet50()
        base.layer4[0].conv2.stride = base.layer4[0].downsample[0].stride = (1, 1)
        self.attention = attention
        if attention:
            self.NL_2 = nn.ModuleList(Attention(512, width if width == 1 else 256) for _ in range(2))
            self.NL_3 = nn.ModuleList(Attention(1024, width if width == 1 else 512) for _ in range(3))
        self.bottleneck = nn.BatchNorm1d(2048)
        self.classifier = nn.Linear(2048, 395, bias=False)

    def forward(self, images: Tensor, infrared: bool) -> Tensor:
        stem = self.thermal_module.thermal if infrared else self.visible_module.visible
        x = F.max_pool2d(F.relu(stem.bn1(stem.conv1(images))), 3, 2, 1)
        base = self.base_resnet.base
        x = base.layer1(x)
        for i, block in enumerate(base.layer2):
            x = block(x)
            x = self.NL_2[i - 2](x) if self.attention and i >= 2 else x
        for i, block in enumerate(base.layer3):
            x = block(x)
            x = self.NL_3[i - 3](x) if self.attention and i >= 3 else x
        x = base.layer4(x)
        pooled = (x.clamp(min=0).pow(3).mean((2, 3)) + 1e-12) ** (1 / 3)
        return self.bottleneck(pooled)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif name.endswith("running_mean") or (name.endswith("bias") and name != "bottleneck.bias"):
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            elif value.dim() == 1 and value.is_floating_point() and name != "bottleneck.bias":
                value.copy_(0.5 + 0.5 * torch.rand(value.shape, generator=generator))
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["agw", "caj", "caj-plus"])
@pytest.mark.parametrize(("width", "attention"), [(1, True), (2, True), (1, False)])
def test_an_imported_checkpoint_embeds_as_the_published_network(
    name: str, width: int, attention: bool, tmp_path: Path
) -> None:
    if name != "agw" and (width, attention) != (1, True):
        pytest.skip("the same importer; one form of the network is enough")
    network = randomised(Published(width, attention))
    torch.save({"net": network.state_dict(), "mAP": 0.5, "epoch": 60}, tmp_path / "x.t")
    imported = import_published(tmp_path / "x.t", name)
    assert imported.method.num_classes == 395
    assert imported.method.size == (288, 144)
    assert imported.card["settings"]["non_local"] is attention
    assert imported.card.get("advice") == (None if name == "agw" else {"flip": "unit"})
    assert "classifier.weight" in imported.ignored
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    infrared = torch.tensor([False, True, True, False])
    with torch.no_grad():
        expected = torch.stack([network(images[i : i + 1], bool(infrared[i]))[0] for i in range(4)])
        found = imported.method.embed(images, infrared)
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    with torch.no_grad():  # the stem follows the modality
        assert imported.method.embed(images, ~infrared).sub(found).abs().max() > 1e-2


@pytest.mark.slow
def test_names_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    network = randomised(Published(1))
    state = dict(network.state_dict())
    for change, message in (
        ({"NL_2.0.extra": torch.zeros(1)}, "unknown tensor 'NL_2.0.extra'"),
        ({"bottleneck.bias": torch.ones(2048)}, "'bottleneck.bias' must be 0"),
    ):
        torch.save({**state, **change}, tmp_path / "x.t")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.t", "agw")
    torch.save({k: v for k, v in state.items() if k != "bottleneck.weight"}, tmp_path / "x.t")
    with pytest.raises(CheckpointError, match=r"'norm\.weight' is missing"):
        import_published(tmp_path / "x.t", "agw")


def small(name: str, **settings: object) -> methods.Method:
    return methods.build(name, {"backbone": "resnet18", "pretrained": None, **settings}, 4, size=(64, 32))


def batch(views: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """4 identities x (2 infrared + 2 visible, each in `views` views)."""
    infrared = torch.tensor([True, True] + [False] * 2 * views).repeat(4)
    view = torch.tensor([0, 0] + [n for n in range(views) for _ in range(2)], dtype=torch.int8).repeat(4)
    labels = torch.arange(4).repeat_interleave(2 + 2 * views)
    images = torch.randn(len(labels), 3, 64, 32, generator=torch.Generator().manual_seed(0))
    return images, labels, infrared, view


def test_mixed_batches_equal_the_modalities_apart_and_the_modality_matters() -> None:
    method = small("agw").eval()
    images, _, infrared, _ = batch()
    with torch.no_grad():
        mixed = method.embed(images, infrared)
        for rows in (infrared, ~infrared):
            torch.testing.assert_close(method.embed(images[rows], infrared[rows]), mixed[rows])
        # both stems start alike; once one has learnt, the modality matters
        method.backbone.infrared.stem.conv1.weight.mul_(1.5)
        assert not torch.allclose(method.embed(images, ~infrared), method.embed(images, infrared))


def test_half_width_blocks_and_none() -> None:
    half = small("agw", non_local_width="half")
    widths = {k: tuple(v.shape[:2]) for k, v in half.state_dict().items() if k.endswith("after.g.weight")}
    assert widths == {
        "backbone.shared.layer2.0.after.g.weight": (64, 128),
        "backbone.shared.layer2.1.after.g.weight": (64, 128),
        "backbone.shared.layer3.0.after.g.weight": (128, 256),
        "backbone.shared.layer3.1.after.g.weight": (128, 256),
    }
    assert not any("after" in k for k in small("agw", non_local=False).state_dict())


def test_the_loss_terms_by_their_definition() -> None:
    images, labels, infrared, view = batch(views=2)
    for name, expected in (("agw", weighted_triplet_loss), ("caj", adaptive_triplet_loss)):
        method = small(name)
        terms = method(images, labels, infrared, view)
        method_again = small(name)
        x = method_again.pooled(images, infrared)
        z = method_again.norm(x)
        assert terms["triplet"].item() == pytest.approx(expected(x, labels).item(), rel=1e-4)
        logits = method_again.classifier(z)
        rows = [-F.log_softmax(logits[i], 0)[labels[i]] for i in range(len(labels))]
        assert terms["identity"].item() == pytest.approx(torch.stack(rows).mean().item(), rel=1e-4)
    hard = small("caj", triplet="hard", margin=0.7)
    terms = hard(images, labels, infrared, view)
    x = small("caj").pooled(images, infrared)
    assert terms["triplet"].item() == pytest.approx(triplet_loss(x, labels, margin=0.7).item(), rel=1e-4)


def test_published_quirks_change_the_loss_where_distances_are_large() -> None:
    images, labels, infrared, view = batch()
    correct, published = small("agw"), small("agw", published_quirks=True)
    for method in (correct, published):  # distances far past 14
        method.pooled = lambda images, infrared: (
            3 * torch.randn(len(images), 512, generator=torch.Generator().manual_seed(3))
        )
    one, other = (m(images, labels, infrared, view)["triplet"].item() for m in (correct, published))
    assert other > one + 1


def test_only_the_plain_view_learns_from_the_exchanged_one() -> None:
    _, labels, infrared, view = batch(views=2)
    method = small("caj-plus")
    plain, exchanged = method.two_views(infrared, view, infrared.device)
    assert labels[plain].tolist() == labels[exchanged].tolist()
    assert exchanged.tolist() == [row + 2 for row in plain.tolist()]
    logits = torch.randn(len(labels), 4, requires_grad=True)
    loss = soft_identity_loss(logits[plain], logits[exchanged].detach())
    q, p = logits[exchanged].softmax(1), logits[plain].log_softmax(1)
    assert loss.item() == pytest.approx(-(q * p).sum(1).mean().item(), rel=1e-5)
    loss.backward()
    assert logits.grad[exchanged].abs().max() == 0
    assert logits.grad[plain].abs().min(1).values.max() > 0


@pytest.mark.parametrize("views", [1, 2])
def test_caj_plus_says_what_batch_it_needs(views: int) -> None:
    images, labels, infrared, view = batch(views)
    method = small("caj-plus")
    if views == 2:
        assert set(method(images, labels, infrared, view)) == {"identity", "triplet", "refine"}
        return
    for given in (None, view):
        with pytest.raises(TrainingError, match=r"batch\.views = \{visible: 2\}"):
            method(images, labels, infrared, given)


def test_rates_are_the_published_ones() -> None:
    groups = small("agw").parameter_groups(0.1)
    assert {g["name"]: g["lr"] for g in groups} == pytest.approx({"base": 0.01, "heads": 0.1})


DATASETS = ("sysu-mm01", "regdb", "llcm")
TWICE, ONCE = {"visible": 2, "infrared": 1}, {"visible": 1, "infrared": 1}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    ("name", "epochs", "rows", "views", "flip"),
    [("agw", 81, 64, ONCE, "none"), ("caj", 100, 96, TWICE, "unit"), ("caj-plus", 100, 96, TWICE, "unit")],
)
def test_the_recipes_are_the_published_runs(
    name: str, epochs: int, rows: int, views: dict[str, int], flip: str, dataset: str
) -> None:
    config = make_config({"recipe": name, "data": {"dataset": dataset}})
    assert (config.seed, config.epochs, config.steps, config.precision) == (0, epochs, None, "fp32")
    assert (config.data.size, config.data.resize) == ((288, 144), "lanczos")
    batch = config.batch
    assert (batch.sampler, batch.identities, batch.instances, batch.replacement) == ("uniform", 8, 4, True)
    assert (batch.views.model_dump(), batch.size) == (views, rows)
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("sgd", 0.1, 5e-4)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    for epoch in range(epochs):  # e epochs done: (e+1)/10, then 1, and a tenth at 20 and at 50
        factor = min(1.0, (epoch + 1) / 10) * (1 if epoch < 20 else 0.1 if epoch < 50 else 0.01)
        assert rate_factor(config.schedule, epoch + 0.5, epochs) == pytest.approx(factor, rel=1e-9)
    assert (config.embedding.flip, config.validation.select) == (flip, "validation")
    settings = config.method
    assert (settings["non_local"], settings["non_local_width"], settings["pooling"]) == (True, 1, "gem")
    assert (settings["triplet"], settings["head_rate_factor"]) == ("wrt" if name == "agw" else "adp", 10)
    assert not settings["published_quirks"]
    if name != "agw":
        assert (settings["alpha"], settings["gamma"], settings["square"]) == (1, 1, True)
    assert settings.get("refine_weight") == (1 if name == "caj-plus" else None)
    twin = make_config({"recipe": f"{name}-published", "data": {"dataset": dataset}})
    assert twin.method["published_quirks"] and twin.validation.select == "published-test"


CHANGES = ("grey", "channel_exchange", "erasing", "channel_erasing")
"""Probabilities that the three recipes set; all others are those of no change."""


@pytest.mark.parametrize(
    ("name", "dataset", "visible", "second", "infrared"),
    [
        ("agw", "sysu-mm01", (0, 0, 0, 0), None, (0, 0, 0, 0)),
        ("agw", "regdb", (0, 0, 0, 0), None, (0, 0, 0, 0)),
        ("agw", "llcm", (0, 0, 0.5, 0), None, (0, 0, 0.5, 0)),  # the benchmark's own program
        *(("caj", one, (0, 0, 0, 0.5), (0, 1, 0, 0.5), (1 / 8, 3 / 4, 0, 0.5)) for one in DATASETS),
        # infrared images that keep their channels, a quarter, are grey with .6
        *(
            ("caj-plus", one, (0.1, 0, 0, 0.6), (0, 1, 0, 0.6), (0.6 / 4, 3 / 4, 0, 0.5))
            for one in ("sysu-mm01", "llcm")  # nothing was published for the second: SYSU's are taken
        ),
        ("caj-plus", "regdb", (0, 0, 0, 0.5), (0, 1, 0, 0.5), (1 / 8, 3 / 4, 0, 0.5)),
    ],
)
def test_what_changes_each_kind_of_image(
    name: str,
    dataset: str,
    visible: tuple[float, ...],
    second: tuple[float, ...] | None,
    infrared: tuple[float, ...],
) -> None:
    augment = make_config({"recipe": name, "data": {"dataset": dataset}}).augment
    assert augment.grey_epochs == 0
    for kind, expected in (("visible", visible), ("second", second), ("infrared", infrared)):
        if expected is None:  # there is one view
            continue
        found = augment.kind(kind)
        assert tuple(getattr(found, change) for change in CHANGES) == pytest.approx(expected), kind
        assert (found.flip, found.padding, found.padding_fill) == (0.5, 10, 0)
        assert (found.erasing_law, found.erasing_area, found.erasing_aspect) == ("uniform", (0.02, 0.4), 0.3)
        assert (found.erasing_fill, found.channel_erasing_area) == ("mean", None)
        assert (found.jitter, found.weighted_grey, found.tone) == (0, 0, 0)
        assert (found.channel_cutmix, found.spectrum_jitter) == (0, 0)
        assert (found.blur, found.colour_choice, found.own) == (None, (), ())
        both = found.grey > 0 and found.channel_exchange > 0
        assert found.exclusive or not both
