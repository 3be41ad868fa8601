"""PMT against a network written straight from the names of the published checkpoints, and its losses by loops."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivreid.config import make_config
from ivreid.errors import CheckpointError, TrainingError, UsageError
from ivreid.methods.checkpoint_import import import_published
from ivreid.methods.pmt import PMT
from ivreid.training.optimizer import make_optimizer, set_rates
from ivreid.training.schedule import rate_factor
from method_batches import scatter, small_batch, small_method

WIDTH, HEADS, ROWS, COLUMNS = 768, 12, 21, 10


class Attention(nn.Module):
    """Every head by itself, with its matrix over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).split(WIDTH, -1)
        side = WIDTH // HEADS
        out = []
        for head in range(HEADS):
            part = slice(head * side, (head + 1) * side)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(side)).softmax(-1)
            out.append(weights @ v[..., part])
        return self.proj(torch.cat(out, -1))


class Block(nn.Module):
    """Attention and perceptron, each behind its norm and added."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-5), nn.LayerNorm(WIDTH, eps=1e-5)
        self.attn, self.mlp = Attention(), nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        inner = self.mlp.fc1(self.norm2(tokens))
        return tokens + self.mlp.fc2(inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))


class Published(nn.Module):
    """The published network by its names, for images of 256x128."""

    def __init__(self) -> None:
        super().__init__()
        base = self.base = nn.Module()
        base.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        base.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + ROWS * COLUMNS, WIDTH))
        base.patch_embed = nn.Module()
        base.patch_embed.proj = nn.Conv2d(3, WIDTH, 16, stride=12)
        base.blocks = nn.ModuleList(Block() for _ in range(12))
        base.norm = nn.LayerNorm(WIDTH, eps=1e-5)
        self.bottleneck = nn.BatchNorm1d(WIDTH)
        self.classifier = nn.Linear(WIDTH, 395, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        base = self.base
        patches = base.patch_embed.proj(images)
        assert patches.shape[2:] == (ROWS, COLUMNS)
        places = [patches[:, :, row, column] for row in range(ROWS) for column in range(COLUMNS)]
        tokens = torch.stack([base.cls_token[:, 0].expand(len(images), -1), *places], 1) + base.pos_embed
        for block in base.blocks:
            tokens = block(tokens)
        return self.bottleneck(base.norm(tokens)[:, 0])


@pytest.mark.slow
def test_an_imported_checkpoint_embeds_as_the_published_network(tmp_path: Path) -> None:
    network = scatter(Published(), keep=("bottleneck.bias",)).eval()
    state = network.state_dict()
    assert len(state) == 156
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "pmt", dataset="regdb")
    method = imported.method
    assert (method.num_classes, method.size, method.embedding_dim) == (395, (256, 128), 768)
    assert set(imported.ignored) == {"bottleneck.bias", "classifier.weight"}
    assert imported.card["preprocessing"]["resize"] == "lanczos" and "advice" not in imported.card
    images = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), method.embed(images, torch.tensor([True, False]))
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected[:1]).sub(F.normalize(expected[1:])).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bottleneck.bias": torch.ones(768)}, "'bottleneck.bias' must be 0"),
        ({"base.fc.weight": torch.ones(1)}, "unknown tensor 'base.fc.weight'"),
        ({"base.pos_embed": None}, "it lacks 'base.pos_embed'"),
        ({}, "'backbone.patch_embed.proj.weight' is missing"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused(
    change: dict[str, Tensor | None], message: str, tmp_path: Path
) -> None:
    state = {
        "base.cls_token": torch.zeros(1, 1, 768),
        "base.pos_embed": torch.zeros(1, 211, 768),
        "bottleneck.weight": torch.ones(768),
    }
    torch.save({k: v for k, v in {**state, **change}.items() if v is not None}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=re.escape(message)):
        import_published(tmp_path / "x.pth", "pmt")
    if not change:
        with pytest.raises(
            CheckpointError,
            match="table of 210 places; images of 256x144 have 21x11 patches of stride 12: give",
        ):
            import_published(tmp_path / "x.pth", "pmt", size=(256, 144))


def hard(x: Tensor, labels: Tensor, margin: float) -> float:
    """The batch-hard triplet by loops."""
    rows, total = range(len(x)), 0.0
    for i in rows:
        far = max(float((x[i] - x[j]).norm()) for j in rows if labels[i] == labels[j])
        near = min(float((x[i] - x[j]).norm()) for j in rows if labels[i] != labels[j])
        total += max(margin + far - near, 0)
    return total / len(x)


def centre(x: Tensor, labels: Tensor) -> float:
    """DCL by loops."""
    near, own = [], []
    for y in labels.unique():
        middle = x[labels == y].mean(0)
        own += [float((row - middle).norm()) for row in x[labels == y]]
        others = [float((row - middle).norm()) for row in x[labels != y]]
        mean = sum(others) / len(others)
        kept = [d for d in others if d < mean]
        near.append(sum(kept) / len(kept))
    return sum(own) / len(own) / (sum(near) / len(near))


def enhancement(x: Tensor, labels: Tensor, infrared: Tensor) -> float:
    """MSEL by loops."""
    squares: dict[bool, list[float]] = {True: [], False: []}
    rows = range(len(x))
    for i in rows:
        same = [j for j in rows if labels[j] == labels[i] and j != i]
        cross, intra = (
            [float((x[i] - x[j]).norm()) for j in same if bool(infrared[j] != infrared[i]) is other]
            for other in (True, False)
        )
        squares[bool(infrared[i])].append((sum(cross) / len(cross) - sum(intra) / len(intra)) ** 2)
    return sum(sum(side) / len(side) for side in squares.values()) / 2


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_loss_terms_by_their_definition(epoch: int) -> None:
    method = small_method("pmt")  # one epoch of grey images
    images, labels, infrared, view = small_batch("pmt")
    method.begin_epoch(epoch)
    terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}
    x = method.backbone(images).detach()
    logits = method.classifier(F.batch_norm(x, None, None, method.norm.weight, training=True)).detach()
    told = [-F.log_softmax(row, 0)[y].item() for row, y in zip(logits, labels, strict=True)]
    assert terms["identity"] == pytest.approx(2 * sum(told) / len(told), rel=1e-4)
    if epoch == 0:
        assert set(terms) == {"identity", "triplet"}
        apart = sum(hard(x[rows], labels[rows], 0.1) for rows in (infrared, ~infrared))
        assert terms["triplet"] == pytest.approx(apart, rel=1e-4)
        return
    assert terms["triplet"] == pytest.approx(hard(x, labels, 0.1), rel=1e-4)
    assert terms["centre"] == pytest.approx(0.5 * centre(x, labels), rel=1e-4)
    assert terms["enhancement"] == pytest.approx(0.5 * enhancement(x, labels, infrared), rel=1e-3)


@pytest.mark.parametrize(("dataset", "epochs"), [("sysu-mm01", 24), ("regdb", 36), ("llcm", 24)])
def test_rates_and_phases_are_the_published_ones(dataset: str, epochs: int) -> None:
    config = make_config({"recipe": "pmt", "data": {"dataset": dataset}})
    assert config.epochs == epochs
    assert config.method["grey_epochs"] == config.augment.grey_epochs == 6
    groups = small_method("pmt").parameter_groups(config.optimizer.lr)
    optimizer = make_optimizer(config.optimizer, groups, torch.device("cpu"))
    for t in range(1, epochs + 1):  # the published program counts epochs from 1
        rates = set_rates(optimizer, config.schedule, rate_factor(config.schedule, t - 0.5, epochs))
        for name, base in (("rest", 3e-4), ("trained", 1.5e-4)):
            share = t / 3 if t < 3 else (1 + math.cos(math.pi * t / epochs)) / 2
            assert rates[name] == pytest.approx(3e-6 + share * (base - 3e-6), rel=1e-9)
    assert rates["rest"] == rates["trained"] == pytest.approx(3e-6)


def test_patches_and_blocks_learn_at_half_the_rate() -> None:
    method = small_method("pmt")
    names = {id(value): name for name, value in method.named_parameters()}
    rest, trained = method.parameter_groups(1.0)
    assert (rest["lr"], trained["lr"]) == (1.0, 0.5)
    assert {names[id(p)] for p in rest["params"]} == {
        *("backbone.cls_token", "backbone.pos_embed", "backbone.norm.weight", "backbone.norm.bias"),
        *("norm.weight", "classifier.weight"),
    }
    assert all(
        names[id(p)].startswith(("backbone.patch_embed.proj.", "backbone.blocks.")) for p in trained["params"]
    )


def test_the_recipe_is_the_published_one_but_for_its_choice_of_weights() -> None:
    plain, published = (make_config({"recipe": name}) for name in ("pmt", "pmt-published"))
    assert (plain.data.size, plain.data.resize, plain.batch.size) == ((256, 128), "lanczos", 64)
    assert (plain.batch.sampler, plain.batch.replacement) == ("uniform", False)
    infrared, visible = plain.augment.kind("infrared"), plain.augment.kind("visible")
    assert (infrared.colour_choice, infrared.jitter, infrared.blur) == (
        ("jitter", "blur"),
        1.0,
        (21, 0.1, 3.0),
    )
    assert (visible.colour_choice, visible.jitter, visible.blur) == ((), 0.0, None)
    assert (plain.precision, plain.validation.select) == ("auto", "validation")
    assert (published.precision, published.validation.select) == ("fp16", "published-test")
    assert published.validation.metric == "mAP"
    assert PMT.publication is not None and PMT.publication.short == "Lu et al., AAAI 2023"


def test_layer_norms_add_what_the_published_weights_were_trained_with() -> None:
    images, _, infrared, _ = small_batch("pmt")
    with torch.no_grad():
        found = [
            scatter(small_method("pmt", **settings)).eval().embed(images, infrared)
            for settings in ({}, {"norm_eps": 1e-5}, {"norm_eps": 1e-2}, {"published_quirks": True})
        ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[3])
    assert (found[0] - found[2]).abs().max() > 1e-3


def test_other_images_and_batches_are_refused_with_the_reason() -> None:
    method = small_method("pmt")
    images, labels, infrared, view = small_batch("pmt")
    with pytest.raises(UsageError, match="this network takes images of 64x32, not 32x32"):
        method(images[:, :, :32], labels, infrared, view)
    with pytest.raises(TrainingError, match="pmt needs images of both modalities, got 0 visible and 16"):
        method(images, labels, infrared | True, view)
