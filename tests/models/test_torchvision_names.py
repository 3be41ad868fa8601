"""Torchvision's files for timm's networks: every tensor finds its place, for the network computes the same."""

from __future__ import annotations

import re

import pytest
import timm
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import nn

from ivreid.errors import CheckpointError
from ivreid.models import create_backbone
from ivreid.models.torchvision_names import CLASSIFIERS, from_torchvision

SMALL = {
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "mnasnet_050": "mnasnet0_5",
    "efficientnet_b0": "efficientnet_b0",
    "regnetx_004_tv": "regnet_x_400mf",
    "regnety_004": "regnet_y_400mf",
    "densenet121": "densenet121",
}
LARGE = {
    "mnasnet_075": "mnasnet0_75",
    "mnasnet_100": "mnasnet1_0",
    **{f"efficientnet_b{n}": f"efficientnet_b{n}" for n in range(1, 8)},
    **{f"efficientnetv2_{size}": f"efficientnet_v2_{size}" for size in "sml"},
    **{f"convnext_{size}": f"convnext_{size}" for size in ("tiny", "small", "base", "large")},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (161, 169, 201)},
    **{f"vgg{depth}{bn}": f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")},
    **{name: name for name in ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")},
    "inception_v3": "inception_v3",
}
REGNETS = {
    "regnetx_008": "regnet_x_800mf",
    "regnetx_016": "regnet_x_1_6gf",
    "regnetx_032": "regnet_x_3_2gf",
    "regnety_008_tv": "regnet_y_800mf",
    "regnety_016": "regnet_y_1_6gf",
    "regnety_032": "regnet_y_3_2gf",
}


def published(name: str) -> nn.Module:
    """Torchvision's network with values that tell every tensor from every other, norms included."""
    net = getattr(torchvision.models, name)(weights=None)
    generator = torch.Generator().manual_seed(0)
    for key, value in net.state_dict().items():
        if key.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=generator) / 10)
        elif key.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim == 1:
            value.add_(torch.randn(value.shape, generator=generator) / 10)
    return net.eval()


def feature_map(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What torchvision's network computes before pooling."""
    if isinstance(net, torchvision.models.DenseNet):
        return net.features(images).relu()
    if hasattr(net, "features"):
        return net.features(images)
    if hasattr(net, "layers"):
        return net.layers(images)
    return net.trunk_output(net.stem(images))


@pytest.mark.parametrize("order", ["as saved", "sorted"])
@pytest.mark.parametrize("name", list(SMALL))
def test_the_network_computes_what_torchvisions_does(name, order, tmp_path):
    theirs = published(SMALL[name])
    if order == "sorted":  # safetensors keeps no order
        file = tmp_path / "w.safetensors"
        save_file(theirs.state_dict(), file)
    else:
        file = tmp_path / "w.pth"
        torch.save(theirs.state_dict(), file, _use_new_zipfile_serialization=False)
    ours = create_backbone(name, pretrained=str(file)).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = feature_map(theirs, images), ours.forward_features(images)
    # equal sums in another order, and norms whose two constants are one: relative to the largest value
    assert torch.allclose(found, wanted, rtol=0, atol=2e-5 * wanted.abs().max().item())
    assert wanted.std() > 0


@pytest.mark.parametrize("name", list(LARGE))
def test_every_tensor_of_the_larger_ones_has_its_place(name):
    """Shapes alone, without memory: the same rules as for the small ones of each family."""
    with torch.device("meta"):
        options = {"init_weights": False} if name == "inception_v3" else {}
        check_places(getattr(torchvision.models, LARGE[name])(**options), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REGNETS))
def test_every_tensor_of_the_larger_regnets_has_its_place(name):
    check_places(getattr(torchvision.models, REGNETS[name])(), name)  # they compute while they are built


def check_places(theirs: nn.Module, name: str) -> None:
    net = timm.create_model(name, num_classes=0, global_pool="")
    state = net.state_dict()
    own = {key for key in state if not key.endswith("num_batches_tracked")}
    tensors = theirs.state_dict()
    if not own <= tensors.keys():
        tensors = from_torchvision(tensors, net, name)
    assert tensors is not None
    assert own <= tensors.keys()
    assert all(state[key].shape == tensors[key].shape for key in own)
    assert all(key in state or key.startswith(CLASSIFIERS) for key in tensors)


def test_a_real_mobilenet_file_has_312_names_that_map_one_to_one(tmp_path):
    theirs = torchvision.models.mobilenet_v2(weights=None)
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("classifier")}
    assert len(state) == 312
    torch.save(theirs.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    ours = create_backbone("mobilenetv2_100", pretrained=str(tmp_path / "w.pth")).state_dict()
    assert len(ours) == 312
    first = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    found = [value for key, value in ours.items() if not key.endswith("num_batches_tracked")]
    assert all(torch.equal(a, b) for a, b in zip(first, found, strict=True))


def test_densenet_files_spell_their_layers_with_a_dot(tmp_path):
    theirs = torchvision.models.densenet121(weights=None).state_dict()
    spelled = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): v for key, v in theirs.items()}
    assert spelled.keys() != theirs.keys()
    torch.save(spelled, tmp_path / "w.pth")
    ours = create_backbone("densenet121", pretrained=str(tmp_path / "w.pth")).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_another_network_is_refused(tmp_path):
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), tmp_path / "w.pth")
    for name in ("mobilenetv3_large_100", "mobilenetv2_100", "resnet18", "mnasnet_100"):
        with pytest.raises(CheckpointError, match=f"is not weights of {name}"):
            create_backbone(name, pretrained=str(tmp_path / "w.pth"))


def test_what_was_chosen_in_the_file_is_told(tmp_path, caplog):
    net = create_backbone("test_efficientnet")
    state = {f"module.backbone.{key}": value for key, value in net.state_dict().items()}
    torch.save({"epoch": 3, "centres": torch.ones(9), "net": state}, tmp_path / "w.pth")
    found = create_backbone("test_efficientnet", pretrained=str(tmp_path / "w.pth"))
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in found.state_dict().items())
    assert "taken from its entry 'net', without the prefix 'module.backbone.' of every name" in caplog.text
