"""The whole step against an independent derivation: torchvision's ResNet, and a head written row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from ivreid import methods
from ivreid.errors import TrainingError

CLASSES = 5
TERMS = {"identity", "modality", "mutual", "triplet"}


def make(backbone: str = "resnet18", seed: int = 0, **settings) -> methods.Method:
    options = {"backbone": backbone, "pretrained": None, **settings}
    return methods.build("iv-reid", options, CLASSES, seed=seed)


def shake(module: nn.Module, seed: int = 4) -> None:
    """Random values also where initialisation leaves 0 and 1, so that a forgotten term shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.5
            if tensor.ndim == 1:
                tensor.add_(noise)
            elif "classifier" in name:  # few identities make Kaiming's values large, and softmax certain
                tensor.copy_(0.2 * noise)


def random_batch(rows: int = 12, size=(48, 32), seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(rows, 3, *size, generator=generator, dtype=torch.float64)
    labels = torch.arange(rows) // 4
    infrared = torch.arange(rows) % 4 < 2
    order = torch.randperm(rows, generator=generator)  # modalities and identities in no helpful order
    return images, labels[order], infrared[order]


# an independent network: torchvision's modules, the stem's ReLU left out, the last stride taken out


def reference_features(
    net: torchvision.models.ResNet, images: torch.Tensor, *, stem_relu: bool
) -> torch.Tensor:
    x = net.bn1(net.conv1(images))
    x = net.maxpool(net.relu(x) if stem_relu else x)
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def reference_backbone(method: methods.Method, name: str) -> torchvision.models.ResNet:
    net = getattr(torchvision.models, name)(weights=None)
    net.fc = nn.Identity()
    first = net.layer4[0]
    (first.conv1 if name in ("resnet18", "resnet34") else first.conv2).stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    net.double().load_state_dict(method.backbone.state_dict())
    return net


# an independent head, in numpy for values


def batch_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * weight + bias


def classify(x: np.ndarray, p: dict[str, np.ndarray], name: str) -> np.ndarray:
    x = batch_norm(x, p[f"{name}.0.weight"], p[f"{name}.0.bias"])
    x = x @ p[f"{name}.1.weight"].T + p[f"{name}.1.bias"]
    return x @ p[f"{name}.2.weight"].T + p[f"{name}.2.bias"]


def softmax(row: np.ndarray) -> np.ndarray:
    e = np.exp(row - row.max())
    return e / e.sum()


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return sum(-math.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)) / len(
        labels
    )


def divergence(teacher: np.ndarray, student: np.ndarray, divisor: float) -> float:
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        p, q = softmax(t), softmax(s)
        total += sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)))
    return total / divisor


def batch_hard(f: np.ndarray, labels: np.ndarray, margin: float) -> float:
    total = 0.0
    for i in range(len(f)):
        d = [math.dist(f[i], f[j]) for j in range(len(f))]
        farthest = max(d[j] for j in range(len(f)) if labels[j] == labels[i])
        nearest = min(d[j] for j in range(len(f)) if labels[j] != labels[i])
        total += max(0.0, margin + farthest - nearest)
    return total / len(f)


def head_losses(f, labels, infrared, p, margin, reduction, teachers=None) -> tuple[dict[str, float], tuple]:
    """The four losses from f. `teachers`, where given, replaces the logits that receive no gradient."""
    v, r = ~infrared, infrared
    own_v, own_r = classify(f[v], p, "visible_classifier"), classify(f[r], p, "infrared_classifier")
    if teachers is None:
        teachers = classify(f[v], p, "infrared_classifier"), classify(f[r], p, "visible_classifier")
    per = CLASSES if reduction == "mean" else 1
    shared = f @ p["shared_classifier.weight"].T + p.get("shared_classifier.bias", 0)
    return {
        "identity": cross_entropy(shared, labels),
        "modality": cross_entropy(own_v, labels[v]) + cross_entropy(own_r, labels[r]),
        "mutual": divergence(teachers[0], own_v, v.sum() * per)
        + divergence(teachers[1], own_r, r.sum() * per),
        "triplet": batch_hard(f, labels, margin),
    }, teachers


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
@pytest.mark.parametrize("bias", [True, False])
def test_losses_and_gradient_of_the_feature_against_numpy(reduction, bias):
    method = make(mutual_reduction=reduction, classifier_bias=bias, margin=0.2).double()
    shake(method)
    images, labels, infrared = random_batch()
    kept = {}

    def keep(module, inputs, output):  # hooks are the one way to the inner feature
        output.retain_grad()
        kept["f"] = output

    method.norm.register_forward_hook(keep)
    terms = method(images, labels, infrared)
    sum(terms.values()).backward()

    f, y, r = kept["f"].detach().numpy(), labels.numpy(), infrared.numpy()
    p = {name: value.detach().numpy() for name, value in method.named_parameters()}
    expected, teachers = head_losses(f, y, r, p, 0.2, reduction)
    assert set(terms) == TERMS
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name

    def total(g: np.ndarray) -> float:
        return sum(head_losses(g, y, r, p, 0.2, reduction, teachers)[0].values())

    rng = np.random.default_rng(0)
    for _ in range(12):  # central differences along random directions, the teachers held still
        direction = rng.standard_normal(f.shape)
        slope = (total(f + 1e-6 * direction) - total(f - 1e-6 * direction)) / 2e-6
        assert (kept["f"].grad.numpy() * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_whole_step_against_an_independent_network(name):
    method = make(name).double()
    shake(method)
    images, labels, infrared = random_batch()
    backbone = reference_backbone(method, name)
    twin = make(name, seed=1).double()  # holds copies of the head's parameters for the reference
    twin.load_state_dict(method.state_dict())

    terms = method(images, labels, infrared)
    sum(terms.values()).backward()

    pooled = reference_features(backbone, images, stem_relu=False).flatten(2).sum(2) / (3 * 2)
    normed = (pooled - pooled.mean(0)) / (pooled.var(0, unbiased=False) + 1e-5).sqrt()
    f = normed * twin.norm.weight + twin.norm.bias
    loss, teach = 0, {}
    for i, row in enumerate(f):
        loss = loss - twin.shared_classifier(row).log_softmax(0)[labels[i]] / len(f)
    classifiers = {False: twin.visible_classifier, True: twin.infrared_classifier}
    for kind in (False, True):
        rows = [i for i in range(len(f)) if bool(infrared[i]) is kind]
        own, other = classifiers[kind](f[rows]), classifiers[not kind](f[rows])
        teach[kind] = other.softmax(1).detach()
        for k, i in enumerate(rows):
            q = own[k].log_softmax(0)
            loss = loss - q[labels[i]] / len(rows)
            for c in range(CLASSES):
                loss = loss + teach[kind][k, c] * (teach[kind][k, c].log() - q[c]) / len(rows)
    for i in range(len(f)):
        same = [j for j in range(len(f)) if labels[j] == labels[i] and j != i]
        rest = [j for j in range(len(f)) if labels[j] != labels[i]]
        far = max((f[i] - f[j]).norm() for j in same)
        near = min((f[i] - f[j]).norm() for j in rest)
        loss = loss + (method.settings.margin + far - near).clamp(min=0) / len(f)
    loss.backward()

    assert sum(terms.values()).item() == pytest.approx(loss.item(), rel=1e-9)
    wanted = {f"backbone.{key}": value.grad for key, value in backbone.named_parameters()}
    wanted |= {k: v.grad for k, v in twin.named_parameters() if not k.startswith("backbone.")}
    found = {key: value.grad for key, value in method.named_parameters()}
    assert found.keys() == wanted.keys()
    for key, gradient in found.items():
        scale = wanted[key].abs().max().item()
        assert (gradient - wanted[key]).abs().max().item() <= 1e-7 * scale + 1e-9, key


@pytest.mark.parametrize("stem_relu", [True, False])
def test_conv_biases_change_no_loss_and_get_no_gradient(stem_relu):
    """Why the published biases may be left out of training: the norm layer behind subtracts them."""
    method = make(stem_relu=stem_relu).double()
    images, labels, infrared = random_batch()
    before = method(images, labels, infrared)
    sum(before.values()).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in method.named_parameters()}
    method.zero_grad()
    biases = []
    for module in method.backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.linspace(-2, 2, module.out_channels, dtype=torch.float64))
            biases.append(module.bias)
    after = method(images, labels, infrared)
    sum(after.values()).backward()
    for name in TERMS:
        assert after[name].item() == pytest.approx(before[name].item(), rel=1e-9)
    found = {name: parameter.grad for name, parameter in method.named_parameters()}
    scale = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (found[name] - gradient).abs().max() < 1e-9 * scale, name
    assert max(bias.grad.abs().max() for bias in biases) < 1e-9 * scale


def test_weights_of_the_terms_multiply_them():
    batch = random_batch()
    plain = make().double()(*batch)
    scaled = make(identity_weight=2, modality_weight=0, mutual_weight=0.5, triplet_weight=3).double()(*batch)
    for name, factor in {"identity": 2, "modality": 0, "mutual": 0.5, "triplet": 3}.items():
        assert scaled[name].item() == pytest.approx(factor * plain[name].item())


def test_order_of_the_batch_changes_nothing():
    images, labels, infrared = random_batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    one = make().double()(images, labels, infrared)
    two = make().double()(images[order], labels[order], infrared[order])
    for name in TERMS:
        assert two[name].item() == pytest.approx(one[name].item(), rel=1e-9)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv3_small_050"])
def test_every_parameter_is_in_one_group_at_its_rate_and_learns(backbone):
    method = make(backbone, classifier_lr=3e-3)
    groups = method.parameter_groups(2e-4)
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == {"backbone": 2e-4, "norm": 2e-4, "shared_classifier": 2e-4, "modality_classifiers": 3e-3}
    names = {id(p): name for name, p in method.named_parameters()}
    grouped = [(names[id(p)], group["name"]) for group in groups for p in group["params"]]
    assert sorted(name for name, _ in grouped) == sorted(names.values())
    belongs = {"backbone": "backbone", "norm": "norm", "shared_classifier": "shared_classifier"}
    for name, group in grouped:
        assert belongs.get(name.split(".")[0], "modality_classifiers") == group

    images, labels, infrared = random_batch(size=(64, 32))
    sum(method(images.float(), labels, infrared).values()).backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_published_defaults():
    settings = methods.parse_settings("iv-reid", {})
    assert (settings.backbone, settings.pretrained, settings.norm) == ("resnet50", "imagenet", "bn")
    assert (settings.last_stride, settings.stem_relu, settings.classifier_bias) == (1, False, True)
    assert (settings.margin, settings.mutual_reduction, settings.classifier_lr) == (0.3, "batchmean", 1e-3)


def test_initial_values_of_the_head():
    method = methods.build("iv-reid", {"backbone": "resnet18", "pretrained": None}, 400)
    for layer in (
        method.shared_classifier,
        *(part for head in (method.visible_classifier, method.infrared_classifier) for part in head[1:]),
    ):
        assert layer.bias.abs().max() == 0
        wanted = math.sqrt(2 / layer.out_features)  # Kaiming, fan-out
        assert layer.weight.std().item() == pytest.approx(wanted, rel=0.02)
        assert abs(layer.weight.mean().item()) < 0.02 * wanted
    assert [tuple(part.weight.shape) for part in method.visible_classifier] == [
        (512,),
        (512, 512),
        (400, 512),
    ]
    bare = methods.build(
        "iv-reid", {"backbone": "resnet18", "pretrained": None, "classifier_bias": False}, 400
    )
    assert bare.shared_classifier.bias is None
    assert bare.shared_classifier.weight.std().item() == pytest.approx(0.001, rel=0.02)


@pytest.mark.parametrize(
    ("norm", "kind"), [("bn", nn.BatchNorm1d), ("gn", nn.GroupNorm), ("none", nn.Identity)]
)
def test_norm_layers(norm, kind):
    method = make(norm=norm)
    assert type(method.norm) is kind
    images, _, infrared = random_batch()
    method.eval()
    pooled = method.backbone(images.float()).mean((2, 3))
    if norm == "gn":
        halves = pooled.reshape(len(pooled), 2, -1)
        spread = (halves.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        pooled = ((halves - halves.mean(2, keepdim=True)) / spread).reshape(len(pooled), -1)
    if norm == "bn":
        pooled = pooled / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(method.embed(images.float(), infrared), pooled, atol=1e-4, rtol=1e-4)
    assert ("norm" in {group["name"] for group in method.parameter_groups(1e-4)}) == (norm != "none")


def test_embedding_is_single_precision_under_autocast_and_ignores_modality():
    method = make().eval()
    images, _, infrared = random_batch()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = method.embed(images.float(), infrared)
    with torch.no_grad():
        full = method.embed(images.float(), ~infrared)
    assert low.dtype == torch.float32
    assert full.shape == (12, method.embedding_dim) == (12, 512)
    cosine = nn.functional.cosine_similarity(low, full)
    assert cosine.min() > 0.99


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1)])
def test_a_batch_of_one_modality_is_refused(rows):
    images, labels, _ = random_batch()
    infrared = torch.zeros(len(labels), dtype=torch.bool)
    infrared[rows] = True
    with pytest.raises(TrainingError, match="2 or more images of each modality"):
        make()(images.float(), labels, infrared)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_losses():
    images, labels, infrared = random_batch()
    wanted = make().double()(images, labels, infrared)
    for mask in (infrared, infrared.cuda()):
        found = make().double().cuda()(images.cuda(), labels.cuda(), mask)
        for name in TERMS:
            assert found[name].item() == pytest.approx(wanted[name].item(), rel=1e-9)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        low = make().cuda()(images.float().cuda(), labels.cuda(), infrared)
    for name in TERMS:
        assert low[name].dtype == torch.float32
        assert low[name].item() == pytest.approx(wanted[name].item(), rel=0.2)


def test_losses_are_single_precision_under_autocast():
    images, labels, infrared = random_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = make()(images.float(), labels, infrared)
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_adam_steps_lower_the_loss():
    method = make()
    images, labels, infrared = random_batch(size=(64, 32))
    optimizer = torch.optim.Adam(method.parameter_groups(1e-4), weight_decay=5e-4)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = sum(method(images.float(), labels, infrared).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
