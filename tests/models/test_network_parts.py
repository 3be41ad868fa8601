"""Parts of networks against loops and plain forms of the same thing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from ivreid.errors import UsageError
from ivreid.models import (
    ChannelGate,
    DualNorm,
    EmaLinear,
    ModalityAlleviation,
    NonLocal,
    TwoStems,
    after_last_blocks,
    create_backbone,
    gem,
    make_norm,
    split_backbone,
)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters and statistics: initial zeros and ones hide what a network does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point():
                value.normal_(std=0.3, generator=generator)
    return module


# Splitting


@pytest.mark.parametrize(
    ("name", "stages"),
    [("resnet18", 4), ("mobilenetv3_small_050", 6), ("convnext_atto", 4), ("regnetx_002", 4)],
)
def test_the_parts_are_the_whole(name, stages):
    net = create_backbone(name)
    stem, parts, widths = split_backbone(net, name)
    assert net.training and all(module.training for module in (stem, *parts))
    assert len(parts) == stages
    owned = [id(p) for part in (stem, *parts) for p in part.parameters()]
    assert sorted(owned) == sorted(id(p) for p in net.parameters())
    shaken(net).eval()
    x = randn(2, 3, 64, 32)
    with torch.no_grad():
        y = stem.eval()(x)
        assert y.shape[1] == widths[0]
        for part, width in zip(parts, widths[1:], strict=True):
            y = part.eval()(y)
            assert y.shape[1] == width
        whole = net(x)
        torch.testing.assert_close(y, whole, rtol=0, atol=1e-5 * whole.abs().max().item())
    assert widths[-1] == net.num_features


def test_a_network_of_another_build_is_refused_by_name():
    with pytest.raises(UsageError, match=r"method\.backbone = densenet121 cannot be taken apart"):
        split_backbone(create_backbone("densenet121"), "densenet121")


def test_modules_behind_the_last_blocks():
    stage = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    plain = copy.deepcopy(stage)
    after_last_blocks(stage, 2, nn.Tanh)
    x = randn(3, 2)
    expected = plain[1](plain[0](x))
    for block in (plain[2], plain[3]):
        expected = block(expected).tanh()
    assert torch.equal(stage(x), expected)
    short = nn.Sequential(nn.Linear(2, 2))
    after_last_blocks(short, 3, nn.Tanh)
    assert torch.equal(short(x), short[0].block(x).tanh())
    with pytest.raises(UsageError, match="no sequence of blocks"):
        after_last_blocks(nn.Linear(2, 2), 1, nn.Tanh)


# Two stems


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_each_modality_goes_through_its_own_layers(depth, channels_last):
    whole = create_backbone("resnet18")
    net = TwoStems(copy.deepcopy(whole), "resnet18", depth)
    names = [f"layer{n}" for n in (1, 2, 3, 4)]
    assert list(net.shared) == names[depth:]
    assert [n for n, _ in net.visible.named_children()] == ["stem", *names[:depth]]
    assert net.num_features == 512
    start = randn(1, 3, 64, 32)
    with torch.no_grad():  # both stems begin as the backbone
        whole.eval(), net.eval()
        for flag in (True, False):
            torch.testing.assert_close(net(start, torch.tensor([flag])), whole(start))
    shaken(net)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, infrared = randn(5, 3, 64, 32).to(memory_format=layout), torch.tensor([1, 0, 0, 1, 0]).bool()
    with torch.no_grad():
        mixed = net.stems(x, infrared)
        assert mixed.is_contiguous(memory_format=layout)
        near = {"rtol": 0, "atol": 1e-4 * mixed.abs().max().item()}
        for row, flag in enumerate(infrared.tolist()):
            own = net.infrared if flag else net.visible
            torch.testing.assert_close(mixed[row : row + 1], own(x[row : row + 1]), **near)
        together = net(x, infrared)
        apart = torch.cat([net(x[i : i + 1], infrared[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-3 * apart.abs().max().item())
        assert not torch.allclose(net(x, ~infrared), together, rtol=1e-2)


def test_only_the_rows_modality_learns():
    net = TwoStems(create_backbone("resnet18"), "resnet18")
    net.stems(randn(4, 3, 32, 32), torch.ones(4).bool()).sum().backward()
    assert all(p.grad is None for p in net.visible.parameters())
    assert all(p.grad is not None for p in net.infrared.parameters())


def test_no_stage_left_to_share_is_refused():
    with pytest.raises(UsageError, match="0 to 3 of them, not 4"):
        TwoStems(create_backbone("resnet18"), "resnet18", 4)


# Pooling, norms, gates, slow heads


@pytest.mark.parametrize(("p", "clamp"), [(3.0, None), (3.0, 1e-6), (2.5, None), (1.0, None)])
def test_gem_equals_loops(p, clamp):
    x = randn(2, 3, 4, 5).double().abs()
    x[0, 0] = 0
    found = gem(x, p, clamp)
    for b in range(2):
        for c in range(3):
            values = [max(v, clamp or 0.0) for v in x[b, c].flatten().tolist()]
            mean = sum(v**p for v in values) / 20 + (1e-12 if clamp is None else 0.0)
            assert found[b, c].item() == pytest.approx(mean ** (1 / p), rel=1e-12)


def test_gem_neither_overflows_nor_loses_digits_under_autocast():
    x = torch.full((1, 1, 4, 4), 50.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = gem(x)
        assert gem(x.half()).item() == pytest.approx(50.0)  # 50^3 is infinite in fp16
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(50.0, rel=1e-6)
    empty = torch.zeros(1, 2, 3, 3, requires_grad=True)
    gem(empty).sum().backward()
    assert empty.grad.isfinite().all()


@pytest.mark.parametrize("width", [1, 4])
def test_non_local_equals_its_definition_over_pairs_of_positions(width):
    block = shaken(NonLocal(6, width)).double().eval()
    x = randn(2, 6, 3, 4).double()
    theta, phi, g = (layer(x).flatten(2) for layer in (block.theta, block.phi, block.g))
    y = torch.zeros_like(g)
    for image in range(2):
        for n in range(12):
            for m in range(12):
                y[image, :, n] += (theta[image, :, n] @ phi[image, :, m]) * g[image, :, m] / 12
    expected = x + block.norm(block.expand(y.view(2, width, 3, 4)))
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-10)


def test_a_new_non_local_block_changes_nothing():
    x = randn(2, 6, 3, 4)
    assert torch.equal(NonLocal(6)(x), x)


def test_non_local_sums_past_the_largest_half_number():
    block = NonLocal(1)
    for layer in (block.g, block.theta, block.phi, block.expand):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.ones_(block.norm.weight)
    x = torch.full((1, 1, 32, 32), 16.0)  # the sum over positions is 262144, the mean 256
    with torch.autocast("cpu", torch.bfloat16):
        assert block.eval()(x).float().mean().item() == pytest.approx(16 + 16 * 256, rel=1e-2)


@pytest.mark.parametrize("kind", ["bn", "gn"])
def test_a_norm_without_shift_is_one_whose_bias_is_zero(kind):
    norm = make_norm(kind, 6, shift=False)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
    plain = make_norm(kind, 6)
    x = randn(8, 6)
    assert torch.equal(norm(x), plain(x))
    shaken(norm)
    plain.load_state_dict({**norm.state_dict(), "bias": torch.zeros(6)})
    assert torch.equal(norm.eval()(x), plain.eval()(x))


def test_dual_norm_keeps_the_statistics_of_the_modalities_apart():
    norm = DualNorm("bn", 3)
    x = randn(9, 3)
    infrared = torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1]).bool()
    out = norm(x, infrared)
    for rows in (infrared, ~infrared):
        expected = functional.batch_norm(x[rows], None, None, training=True)
        torch.testing.assert_close(out[rows], expected)
    torch.testing.assert_close(norm.visible.running_mean, 0.1 * x[~infrared].mean(0))
    torch.testing.assert_close(norm.infrared.running_mean, 0.1 * x[infrared].mean(0))
    assert [name for name, _ in norm.named_parameters()] == ["visible.weight", "infrared.weight"]


def test_modality_alleviation_equals_loops():
    module = shaken(ModalityAlleviation(32)).double()
    x = randn(2, 32, 3, 4).double()
    out = module(x)
    squeeze, expand = (layer.weight[:, :, 0, 0] for layer in (module.gate.squeeze, module.gate.expand))
    assert squeeze.shape == (2, 32)
    for b in range(2):
        hidden = (squeeze @ x[b].mean((1, 2))).clamp(min=0)
        gate = 1 / (1 + torch.exp(-(expand @ hidden)))
        for c in range(32):
            values = x[b, c]
            normed = (values - values.mean()) / (values.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(out[b, c], gate[c] * values + (1 - gate[c]) * normed)


def test_a_channel_gate_acts_on_each_position():
    gate, x = shaken(ChannelGate(16, 4)), randn(2, 16, 3, 2)
    torch.testing.assert_close(gate(x)[:, :, 1:2, :1], gate(x[:, :, 1:2, :1]))
    assert gate.squeeze.weight.shape == (4, 16, 1, 1)


def test_a_slow_head_follows_by_its_rate_and_is_no_parameter():
    head = nn.Linear(3, 2)
    slow = EmaLinear(head)
    x = randn(4, 3)
    assert torch.equal(slow(x), head(x))
    assert list(slow.parameters()) == [] and set(slow.state_dict()) == {"weight", "bias"}
    before = {name: value.clone() for name, value in slow.state_dict().items()}
    nn.init.normal_(head.weight), nn.init.normal_(head.bias)
    slow.update(head, 0.2)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(value, 0.8 * before[name] + 0.2 * head.state_dict()[name])
    assert not slow(x).requires_grad
    assert set(EmaLinear(nn.Linear(3, 2, bias=False)).state_dict()) == {"weight"}


def test_generalised_mean_of_negative_maps_has_no_nan() -> None:
    """Backbones without a final ReLU (SiLU, GELU) give maps whose cubes may sum below 0."""
    maps = torch.tensor([[[[-1.0, 0.5]], [[1.0, 2.0]]]], requires_grad=True)
    pooled = gem(maps)
    assert pooled.tolist()[0] == pytest.approx([1e-4, 4.5 ** (1 / 3)], rel=1e-5)
    pooled.sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
