"""Backbones against torchvision's, and every wrong choice against its message."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from ivreid.errors import CheckpointError, UsageError
from ivreid.models import RESNETS, create_backbone, global_average, make_norm

BASIC = ("resnet18", "resnet34")


def strides(net: nn.Module) -> dict[str, tuple[int, int]]:
    return {name: m.stride for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}


def reference(name: str, last_stride: int) -> torchvision.models.ResNet:
    net = getattr(torchvision.models, name)(weights=None)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if key.endswith("running_mean"):
                value.copy_(0.2 * torch.randn(value.shape, generator=generator))
            if key.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    if last_stride == 1:
        first = net.layer4[0]
        (first.conv1 if name in BASIC else first.conv2).stride = (1, 1)
        first.downsample[0].stride = (1, 1)
    return net.eval()


def reference_map(net: torchvision.models.ResNet, x: torch.Tensor) -> torch.Tensor:
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


@pytest.mark.parametrize("last_stride", [1, 2])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_equal_torchvisions(name, last_stride, tmp_path):
    net = reference(name, last_stride)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    ours = create_backbone(name, last_stride=last_stride, pretrained=str(tmp_path / "w.pth")).eval()
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = reference_map(net, x), ours(x)
    assert wanted.std() > 0.1  # a dead network would equal any other
    assert found.shape == (2, ours.num_features, *((6, 4) if last_stride == 1 else (3, 2)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


@pytest.mark.parametrize("name", RESNETS)
def test_last_stride_changes_two_convolutions_and_nothing_else(name):
    with torch.device("meta"):
        own, changed = timm.create_model(name, num_classes=0), create_backbone(name, last_stride=1)
    before, after = strides(own), strides(changed)
    moved = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    conv = "layer4.0.conv1" if name in BASIC else "layer4.0.conv2"
    assert moved == {conv: ((2, 2), (1, 1)), "layer4.0.downsample.0": ((2, 2), (1, 1))}
    assert all(m.dilation == (1, 1) for m in changed.modules() if isinstance(m, nn.Conv2d))


def test_it_is_not_timms_dilated_network(tmp_path):
    net = reference("resnet18", 1)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    ours = create_backbone("resnet18", pretrained=str(tmp_path / "w.pth")).eval()
    dilated = timm.create_model("resnet18", num_classes=0, global_pool="", output_stride=16).eval()
    dilated.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert ours(x).shape == dilated(x).shape
        assert (ours(x) - dilated(x)).abs().max() > 1e-2 * dilated(x).abs().max()


def test_stem_relu_is_an_option():
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    # timm's initial values switch every residual branch off, and then the stem's ReLU changes nothing
    state = {k: v for k, v in reference("resnet18", 1).state_dict().items() if not k.startswith("fc.")}
    nets = [create_backbone("resnet18", stem_relu=choice).eval() for choice in (None, True, False)]
    for net in nets:
        net.load_state_dict(state)
    with torch.no_grad():
        default, with_relu, without = (net(x) for net in nets)
        assert torch.equal(default, with_relu)
        y = nets[2].maxpool(nets[2].bn1(nets[2].conv1(x)))
        for stage in (nets[2].layer1, nets[2].layer2, nets[2].layer3, nets[2].layer4):
            y = stage(y)
    assert torch.equal(without, y)
    assert not torch.allclose(without, with_relu)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t", "convnext_atto", "regnetx_002"])
def test_compact_networks_give_feature_maps(name):
    net = create_backbone(name)
    assert net.training
    out = net(torch.randn(2, 3, 64, 32))
    assert out.shape[:2] == (2, net.num_features)
    assert out.ndim == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet5"}, "method.backbone = resnet5: unknown backbone; did you mean resnet50"),
        ({"name": "hf-hub:someone/resnet50"}, "unknown backbone"),
        ({"name": "zzzz"}, "known: "),
        (
            {"name": "vit_tiny_patch16_224"},
            r"^method\.backbone = vit_tiny_patch16_224 takes .* not a CNN; .*=resnet50$",
        ),
        ({"name": "mobilenetv3_small_050", "last_stride": 1}, "last_stride can be set for resnet18"),
        ({"name": "mobilenetv3_small_050", "stem_relu": True}, "stem_relu can be set for"),
        ({"name": "resnet50", "last_stride": 3}, "must be 1 or 2, not 3"),
    ],
)
def test_wrong_choices_say_what_fits(arguments, message):
    with pytest.raises(UsageError, match=message):
        create_backbone(**arguments)


def test_imagenet_weights_that_cannot_be_fetched_name_the_ways_out(monkeypatch):
    def offline(name, **_):
        raise OSError(f"no route to host for {name}\nlong trace")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UsageError) as caught:
        create_backbone("resnet50", pretrained="imagenet")
    message = str(caught.value)
    assert "no route to host for resnet50.tv_in1k" in message
    assert "(method.pretrained=FILE.pth)" in message
    assert "(method.pretrained=null)" in message
    assert "long trace" not in message


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_local_files_in_torchvisions_naming(form, tmp_path):
    state = reference("resnet18", 2).state_dict()
    # the oldest released files have no counters
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    loaded = create_backbone("resnet18", pretrained=str(path)).state_dict()
    for key, value in loaded.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, state[key]), key


def test_a_file_of_another_network_is_refused_by_name(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"not weights of resnet18: it holds 'layer1\.2"):
        create_backbone("resnet18", pretrained=str(path))
    with pytest.raises(CheckpointError, match=r"not weights of resnet50: it lacks 'layer1\.0\.conv3"):
        create_backbone("resnet50", pretrained=str(path))
    state = torchvision.models.resnet18().state_dict()
    torch.save({**state, "conv1.weight": torch.ones(64, 1, 7, 7)}, path)
    with pytest.raises(
        CheckpointError, match=r"'conv1.weight' has shape \(64, 1, 7, 7\), expected \(64, 3, 7, 7\)"
    ):
        create_backbone("resnet18", pretrained=str(path))
    trained = {f"base.{key}": value for key, value in state.items()}
    torch.save({**trained, "bottleneck.weight": torch.ones(512)}, path)
    with pytest.raises(CheckpointError, match="ivreid import"):
        create_backbone("resnet18", pretrained=str(path))
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        create_backbone("resnet18", pretrained=str(tmp_path / "none.pth"))


def test_pooling_averages_in_single_precision():
    x = torch.full((1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    x[0, 0, 0, 0] = 200.0
    assert global_average(x).item() == pytest.approx((4095 + 200) / 4096)
    assert global_average(x.double()).dtype == torch.float64


def test_norms_are_trained_in_weight_and_bias():
    for kind in ("bn", "gn"):
        names = [name for name, p in make_norm(kind, 6).named_parameters() if p.requires_grad]
        assert names == ["weight", "bias"]
    assert list(make_norm("none", 6).parameters()) == []
