"""IDKL against a network written straight from the names of the published checkpoints, and its losses by loops."""

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
from ivreid.methods import METHODS
from ivreid.methods.checkpoint_import import import_published
from ivreid.methods.idkl import IDKL
from method_batches import scatter, small_batch, small_method


def gate(channels: int) -> nn.Module:
    module = nn.Module()
    module.channel_attention = nn.Sequential(
        nn.Conv2d(channels, channels // 16, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels // 16, channels, 1, bias=False),
        nn.Sigmoid(),
    )
    return module


def critic() -> nn.Module:
    module = nn.Module()
    module.fc1, module.fc2, module.fc3 = nn.Linear(2048, 100), nn.Linear(100, 100), nn.Linear(100, 2)
    module.bn1, module.bn2 = nn.BatchNorm1d(100), nn.BatchNorm1d(100)
    return module


class Published(nn.Module):
    """The published network by its names: three whole networks, of which the test uses two in part."""

    def __init__(self) -> None:
        super().__init__()
        backbone = self.backbone = nn.Module()
        for outer, inner in (
            ("shared_module_fr", "model_sh_fr"),
            ("shared_module_bh", "model_sh_bh"),
            ("special", "special_module"),
        ):
            net = resnet50()
            del net.fc
            net.layer4[0].conv2.stride = net.layer4[0].downsample[0].stride = (1, 1)
            setattr(backbone, outer, nn.Module())
            setattr(getattr(backbone, outer), inner, net)
        backbone.IN = nn.InstanceNorm2d(2048, affine=True, track_running_stats=True)
        backbone.special_att, backbone.mask1, backbone.mask2 = gate(2048), gate(2048), gate(2048)
        self.bn_neck, self.bn_neck_sp = nn.BatchNorm1d(2048), nn.BatchNorm1d(2048)
        for name in ("classifier", "classifier_sp", "C_sp_f"):
            setattr(self, name, nn.Linear(2048, 395, bias=False))
        self.D_special, self.D_shared_pseu = critic(), critic()

    def forward(self, images: Tensor) -> Tensor:
        front = self.backbone.shared_module_fr.model_sh_fr
        back = self.backbone.shared_module_bh.model_sh_bh
        x = F.max_pool2d(F.relu(front.bn1(front.conv1(images))), 3, 2, 1)
        x = back.layer4(back.layer3(front.layer2(front.layer1(x))))
        return self.bn_neck(x.clamp(min=1e-6).pow(3).mean((2, 3)) ** (1 / 3))


@pytest.mark.slow
def test_an_imported_checkpoint_embeds_as_the_published_network(tmp_path: Path) -> None:
    network = scatter(Published(), keep=("bn_neck.bias",)).eval()
    state = network.state_dict()
    assert len(state) == 1010
    torch.save(state, tmp_path / "x.pth")
    imported = import_published(tmp_path / "x.pth", "idkl")
    method = imported.method
    assert (method.num_classes, method.size, method.embedding_dim) == (395, (384, 144), 2048)
    assert "advice" not in imported.card
    kept = len(method.state_dict()) - sum(key.startswith(method.training_only) for key in method.state_dict())
    assert len(imported.ignored) == 1010 - kept
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), method.embed(images, torch.tensor([True, False] * 2))
    assert F.normalize(expected).sub(F.normalize(found)).abs().max() < 1e-4
    assert F.normalize(expected).sub(F.normalize(expected).mean(0)).abs().max() > 1e-3
    needed = {key: value for key, value in state.items() if key not in imported.ignored}
    for change, message in (
        ({"bn_neck.bias": torch.ones(2048)}, "'bn_neck.bias' must be 0"),
        ({"backbone.mask3.weight": torch.ones(1)}, "unknown tensor 'backbone.mask3.weight'"),
        (
            {"backbone.shared_module_bh.model_sh_bh.layer3.5.bn2.bias": None},
            "'shared.layer3.5.bn2.bias' is missing",
        ),
    ):
        changed = {key: value for key, value in {**needed, **change}.items() if value is not None}
        torch.save(changed, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=re.escape(message)):
            import_published(tmp_path / "x.pth", "idkl")


def entropy(logits: Tensor) -> float:
    p = F.softmax(logits, 0)
    return -float((p * p.log()).sum())


def divergence(one: list[Tensor], other: list[Tensor]) -> float:
    """J of lists of logits, the mean over rows."""
    total = 0.0
    for a, b in zip(one, other, strict=True):
        p, q = F.softmax(a, 0), F.softmax(b, 0)
        total += float((p * (p / q).log()).sum() + (q * (q / p).log()).sum())
    return total / len(one)


def distances(rows: list[Tensor]) -> list[Tensor]:
    """Of each row to the others."""
    count = range(len(rows))
    return [torch.stack([(rows[i] - rows[j]).norm() for j in count if j != i]) for i in count]


def hard(x: Tensor, labels: Tensor, margin: float) -> float:
    rows, total = range(len(x)), 0.0
    for i in rows:
        far = max(float((x[i] - x[j]).norm()) for j in rows if labels[i] == labels[j])
        near = min(float((x[i] - x[j]).norm()) for j in rows if labels[i] != labels[j])
        total += max(margin + far - near, 0)
    return total / len(x)


def mean_entropy(logits: Tensor, labels: Tensor) -> float:
    told = [-F.log_softmax(row, 0)[y].item() for row, y in zip(logits, labels, strict=True)]
    return sum(told) / len(told)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_the_loss_terms_by_their_definition(published: bool, descending: bool) -> None:
    method = small_method("idkl", published_quirks=published)
    scatter(method.specific.instance_norm)
    images, labels, infrared, view = small_batch("idkl")
    labels = labels.max() - labels if descending else labels  # the batch's order counts, not the identities'
    with torch.no_grad():
        terms = {name: term.item() for name, term in method(images, labels, infrared, view).items()}

    def root(maps: Tensor) -> Tensor:
        return maps.clamp(min=1e-6).pow(3).mean((2, 3)) ** (1 / 3)

    def normed(x: Tensor, norm: nn.Module) -> Tensor:
        return norm.weight * (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()

    with torch.no_grad():
        t, branch = method.backbone(images), method.specific
        x, f = root(method.shared(t)), branch.stages(t)
        spread = (f.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        weight, bias = (v[:, None, None] for v in (branch.instance_norm.weight, branch.instance_norm.bias))
        style = weight * (f - f.mean((2, 3), keepdim=True)) / spread + bias
        masks = [
            torch.sigmoid(F.conv2d(F.relu(F.conv2d(m, g.squeeze.weight)), g.expand.weight))
            for m, g in ((style, branch.normed_mask), (f, branch.mask))
        ]
        x_own = root(masks[0] * masks[1] * (f + style))
        z, z_own = normed(x, method.norm), normed(x_own, method.specific_norm)
        logits, own = z @ method.classifier.weight.T, z_own @ method.specific_classifier.weight.T
        told = [
            network(features)
            for network, features in (
                (method.modality_discriminator, z_own),
                (method.pseudo_discriminator, z),
            )
        ]
        sure = [root(m) @ method.certainty_classifier.weight.T for m in (masks[1] * f, f)]
        gaps = []
        for maps in (masks[0] * style, style):
            feature = root(maps)
            gaps.append(
                [
                    float(
                        (
                            feature[(labels == y) & infrared].mean(0)
                            - feature[(labels == y) & ~infrared].mean(0)
                        ).norm()
                    )
                    for y in labels.unique()
                ]
            )

    assert terms["identity"] == pytest.approx(
        mean_entropy(logits, labels) + mean_entropy(own, labels), rel=1e-4
    )
    assert terms["triplet"] == pytest.approx(hard(x, labels, 1.3) + hard(x_own, labels, 1.3), rel=1e-4)

    pseudo, seen = [], {True: 0, False: 0}
    for of in infrared.tolist():
        pseudo.append(int(of) if seen[of] % 2 == 0 else 1 - int(of))
        seen[of] += 1
    assert sum(p == int(of) for p, of in zip(pseudo, infrared.tolist(), strict=True)) == len(pseudo) / 2
    modality = mean_entropy(told[0], infrared.long()) + mean_entropy(told[1], torch.tensor(pseudo))
    assert terms["modality"] == pytest.approx(modality, rel=1e-4)

    v, r = ([i for i in range(len(labels)) if bool(infrared[i]) is of] for of in (False, True))
    assert labels[v].equal(labels[r])
    count = len(v)
    mixed = [x[v[i]] if i % 2 == 0 else x[r[i]] for i in range(count)]
    if published:
        mixed = [x[i] for i in v[: count // 2]] + [x[i] for i in r[: count // 2]]
    graphs = [distances(list(rows)) for rows in (x[v], x[r], x_own[v], x_own[r])]
    mix = distances(mixed)
    graph = divergence(graphs[0], graphs[1]) + divergence(graphs[0], mix) + divergence(mix, graphs[1])
    graph += 0.6 * (divergence(graphs[0], graphs[2]) + divergence(graphs[1], graphs[3]))
    assert terms["graph"] == pytest.approx(graph, rel=1e-3)

    four = [list(rows) for rows in (logits[v], logits[r], own[v], own[r])]
    joined = [[torch.cat(rows[k::2]) for k in range(2)] for rows in four]  # two images of each modality
    told_classes = sum(
        divergence(a, b) + 0.8 * (divergence(a, c) + divergence(b, d)) for a, b, c, d in (four, joined)
    )
    assert terms["class"] == pytest.approx(told_classes, rel=1e-3)

    clearer = [math.exp(max(entropy(a) - entropy(b), 0)) - 1 for a, b in zip(sure[0], sure[1], strict=True)]
    nearer = [max(a - b, 0) for a, b in zip(gaps[0], gaps[1], strict=True)]
    expected = 0.1 * (sum(clearer) / len(clearer) + sum(nearer) / len(nearer))
    assert terms["purification"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_rows_pair_up_by_identity_whatever_their_order() -> None:
    method, batch = small_method("idkl"), small_batch("idkl")
    order = torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(3))
    one, other = method(*batch), method(*(value[order] for value in batch))
    assert one["identity"].item() == pytest.approx(other["identity"].item(), rel=1e-3)
    blocks = torch.cat([torch.arange(16)[batch.infrared], torch.arange(16)[~batch.infrared]])
    apart = method(*(value[blocks] for value in batch))  # infrared first: the same pairs, and the same turns
    for name, term in one.items():
        assert term.item() == pytest.approx(apart[name].item(), rel=1e-3), name


def test_the_mixed_graph_alone_is_a_quirk_and_regdb_has_no_graph() -> None:
    batch = small_batch("idkl")
    plain, quirk = (small_method("idkl", published_quirks=on)(*batch) for on in (False, True))
    assert plain["graph"].item() != pytest.approx(quirk["graph"].item(), rel=1e-3)
    assert all(plain[name].item() == quirk[name].item() for name in plain if name != "graph")
    assert "graph" not in small_method("idkl", graph_weight=0.0)(*batch)


def test_a_batch_without_pairs_is_refused() -> None:
    images, labels, infrared, view = small_batch("idkl")
    with pytest.raises(TrainingError, match=r"as many visible as infrared .* got 8 visible and 7 infrared"):
        small_method("idkl")(images[1:], labels[1:], infrared[1:], view[1:])


def test_recipes_by_dataset_and_its_choice_of_weights() -> None:
    sysu = make_config({"recipe": "idkl"})
    regdb = make_config({"recipe": "idkl-published", "data": {"dataset": "regdb"}})
    assert (sysu.data.size, sysu.batch.sampler, sysu.batch.size) == ((384, 144), "paired", 120)
    assert (regdb.data.size, regdb.batch.size) == ((256, 128), 60)
    assert (sysu.optimizer.weight_decay, sysu.schedule.milestones, sysu.epochs) == (5e-3, (55, 95), 160)
    assert (sysu.method["graph_weight"], sysu.method["class_specific_weight"]) == (1.0, 0.8)
    assert (regdb.method["graph_weight"], regdb.method["class_specific_weight"]) == (0.0, 0.3)
    assert (sysu.validation.select, regdb.validation.select) == ("validation", "last")
    assert (sysu.precision, regdb.precision) == ("auto", "fp16")
    visible = sysu.augment.kind("visible")
    assert (visible.padding_fill, visible.erasing_law, visible.erasing_area) == (127, "log", (0.02, 0.33))


def test_it_alone_is_experimental() -> None:
    assert [name for name, kind in METHODS.items() if kind.experimental] == ["idkl"]
    assert IDKL.publication is not None and IDKL.publication.short == "Ren and Zhang, CVPR 2024"
