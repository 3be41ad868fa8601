"""The registry, and a sweep over every method in it: a newcomer's method is tested by being there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ivreid import methods
from ivreid.data.settings import IMAGENET_MEAN, IMAGENET_STD
from ivreid.errors import CheckpointError, ConfigError, UsageError
from ivreid.methods import iv_reid
from ivreid.models import create_backbone, read_weights, write_weights
from ivreid.plugins import load_plugin
from ivreid.synthetic import DEFAULT_GAP
from ivreid.synthetic.dataset_request import DatasetRequest
from ivreid.synthetic.generate import draw_picture, plan_dataset
from ivreid.testing import check_method
from ivreid.testing.method_contract import IDENTITIES
from method_batches import OWN_PARTS, scatter, small_batch, small_method

SMALL = {"backbone": "resnet18", "pretrained": None}
EVERY = pytest.mark.parametrize("name", sorted(methods.METHODS))


@EVERY
def test_every_method_keeps_the_contract(name):
    check_method(methods.METHODS[name])


@EVERY
def test_each_row_goes_through_its_modalitys_parts_and_no_other_does(name):
    method = scatter(small_method(name)).eval()
    images, _, infrared, _ = small_batch(name)
    with torch.no_grad():
        mixed, swapped = method.embed(images, infrared), method.embed(images, ~infrared)
        size = mixed.abs().max().item()
        for rows in (infrared, ~infrared):
            apart = method.embed(images[rows], infrared[rows])
            torch.testing.assert_close(apart, mixed[rows], rtol=1e-4, atol=1e-4 * size)
    moved = (swapped - mixed).abs().amax(1)
    assert (moved > 1e-3 * size).all() if name in OWN_PARTS else (moved == 0).all()


@pytest.fixture(scope="module")
def people():
    """Two infrared and two visible pictures of each drawn person: (people, 2, 3, H, W) each, white is 1."""
    request = DatasetRequest("regdb", IDENTITIES, 2, (128, 64), seed=0, gap=DEFAULT_GAP)
    planned = plan_dataset(request)
    found = {"thermal": [], "visible": []}
    for one in sorted(planned.pictures, key=lambda one: one.pid):
        picture = draw_picture(request, planned, one)
        found[one.camera].append(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)
    return [torch.stack(pictures).unflatten(0, (IDENTITIES, 2)) for pictures in found.values()]


def drawn_batch(name, people):
    """The small batch of drawn people; a further view of a visible image is one of its channels."""
    kind, (infrared, visible) = methods.get_method(name), people
    views = [visible[:, :, [number, number, number]] for number in range(kind.views - 1)]
    images = torch.cat([infrared, visible, *views], 1).flatten(0, 1)
    images = functional.interpolate(images, kind.small_size, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return small_batch(name)._replace(images=(images - mean) / std)


@pytest.mark.slow
@EVERY
def test_twenty_steps_on_drawn_people_lower_the_loss(name, people):
    method, batch = small_method(name), drawn_batch(name, people)
    optimizer = torch.optim.AdamW(method.parameter_groups(1e-3), lr=1e-3)
    method.begin_epoch(10)  # past whatever a method does differently at the start
    losses = []
    for _ in range(20):
        method.begin_step()
        loss = sum(method(*batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) / 3 < 0.95 * losses[0]


@EVERY
def test_only_training_parts_may_be_missing(name, tmp_path):
    kind = methods.get_method(name)
    method = methods.build(name, kind.small, 4, size=kind.small_size)
    path = tmp_path / "w.safetensors"
    state = method.state_dict()
    needed = {
        k: v for k, v in state.items() if not method.training_only or not k.startswith(method.training_only)
    }
    write_weights(path, needed, method.card())
    methods.restore(path)
    first = next(iter(needed))
    for tensors, message in (
        ({k: v for k, v in needed.items() if k != first}, f"{first!r} is missing"),
        ({**needed, "other": torch.ones(2)}, "'other' is unknown"),
        ({**needed, first: torch.ones(2)}, r"has shape \(2,\), expected"),
    ):
        write_weights(path, tensors, method.card())
        with pytest.raises(CheckpointError, match=message) as caught:
            methods.restore(path)
        assert str(path) in str(caught.value)


def test_weights_without_classifiers_still_embed_alike(tmp_path):
    method = methods.build("iv-reid", SMALL, 4).eval()
    keep = {k: v for k, v in method.state_dict().items() if not k.startswith(method.training_only)}
    write_weights(tmp_path / "w.safetensors", keep, method.card())
    images = torch.randn(2, 3, 64, 32)
    restored, _ = methods.restore(tmp_path / "w.safetensors")
    none = torch.zeros(2, dtype=torch.bool)
    assert torch.equal(restored.embed(images, none), method.embed(images, none))


def test_the_size_of_the_images_reaches_the_method_and_its_card(tmp_path):
    tiny = {"backbone": "test_efficientnet", "pretrained": None}
    method = methods.build("iv-reid", tiny, 4, size=(64, 48))
    assert method.size == (64, 48)
    path = tmp_path / "w.safetensors"
    write_weights(path, method.state_dict(), method.card())
    assert read_weights(path)[1]["size"] == [64, 48]
    assert methods.restore(path)[0].size == (64, 48)
    card = {key: value for key, value in method.card().items() if key != "size"}
    for preprocessing, expected in (({"size": [40, 20]}, (40, 20)), ({}, (384, 128))):
        write_weights(path, method.state_dict(), {**card, "preprocessing": preprocessing})
        assert methods.restore(path)[0].size == expected  # as weights of 0.1.0, which name no size
    for wrong in ([64], [4, 4]):
        write_weights(path, method.state_dict(), {**card, "size": wrong, "preprocessing": {"size": wrong}})
        with pytest.raises(CheckpointError, match=r"card of .* cannot be used: its size is .*a height and a"):
            methods.restore(path)
    for wrong in (3, [64, "wide"]):  # a wrong kind is refused before it is a file
        with pytest.raises(CheckpointError, match="not a list of whole numbers"):
            write_weights(path, method.state_dict(), {**card, "size": wrong})


def test_a_seed_decides_the_initial_values_and_touches_nothing_else():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = methods.build("iv-reid", SMALL, 4, seed=1)
    assert torch.equal(torch.rand(3), expected)
    same, other = (methods.build("iv-reid", SMALL, 4, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(value, same[key]) for key, value in first.state_dict().items())
    assert not torch.equal(first.backbone.conv1.weight, other["backbone.conv1.weight"])


def test_unknown_names_and_settings_say_what_is_right():
    with pytest.raises(UsageError, match="did you mean iv-reid"):
        methods.get_method("ivreid")
    with pytest.raises(ConfigError) as caught:
        methods.parse_settings("iv-reid", {"margn": 0.3, "norm": "ln", "last_stride": 3, "margin": "wide"})
    for part in (
        "margn: unknown; did you mean margin",
        "norm: ",
        "'ln'",
        "last_stride: ",
        "margin: ",
        "'wide'",
    ):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match="1 or more training identities"):
        methods.build("iv-reid", SMALL, 0)
    with pytest.raises(UsageError, match="last_stride can be set for"):
        methods.build("iv-reid", {**SMALL, "backbone": "resnet10t", "last_stride": 1}, 4)


def test_copying_one_file_makes_a_method(tmp_path):
    """What docs/methods.md promises."""
    source = Path(iv_reid.__file__).read_text(encoding="utf-8")
    copy = source.replace('name = "iv-reid"', 'name = "mine"').replace(
        "margin: float = Field(0.3", "margin: float = Field(0.7"
    )
    assert copy != source
    (tmp_path / "mine.py").write_text(copy, encoding="utf-8")
    load_plugin(tmp_path / "mine.py")
    method = methods.build("mine", SMALL, 4)
    assert method.settings.margin == 0.7
    write_weights(tmp_path / "w.safetensors", method.state_dict(), method.card())
    restored, card = methods.restore(tmp_path / "w.safetensors")
    assert type(restored) is methods.METHODS["mine"]
    assert card["method"] == "mine"


def test_settings_never_change():
    settings = methods.parse_settings("iv-reid", {})
    with pytest.raises(ValueError, match="frozen"):
        settings.margin = 1.0


def test_resolved_settings_build_the_same_again():
    for given in (
        {},
        {"backbone": "resnet10t"},
        {"last_stride": None, "stem_relu": True},
        {"pretrained": None},
    ):
        settings = methods.parse_settings("iv-reid", given)
        assert methods.parse_settings("iv-reid", settings.model_dump(mode="json")) == settings


def test_pretrained_weights_are_used_only_when_wanted_and_travel_without_their_folder(tmp_path):
    file = tmp_path / "secret" / "resnet18.pth"
    file.parent.mkdir()
    torch.save(create_backbone("resnet18").state_dict(), file)
    wanted = torch.load(file, weights_only=True)["conv1.weight"]
    options = {**SMALL, "pretrained": str(file)}
    with_file = methods.build("iv-reid", options, 4)
    without = methods.build("iv-reid", options, 4, pretrained=False)
    assert torch.equal(with_file.backbone.conv1.weight, wanted)
    assert not torch.equal(without.backbone.conv1.weight, wanted)
    assert with_file.settings == without.settings
    assert with_file.card()["settings"]["pretrained"] == "resnet18.pth"
    write_weights(tmp_path / "w.safetensors", with_file.state_dict(), with_file.card())
    file.unlink()
    assert torch.equal(methods.restore(tmp_path / "w.safetensors")[0].backbone.conv1.weight, wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "other"}, "card of .* cannot be used: unknown method 'other'"),
        ({"settings": {"colour": 1}}, "card of .* cannot be used: settings .*colour: unknown"),
        (
            {"settings": {**SMALL, "backbone": "hf-hub:x/y"}},
            r"cannot be used: method\.backbone = hf-hub:x/y: unknown backbone",
        ),
        ({"settings": {**SMALL, "norm": "gn"}}, "does not fit iv-reid with these settings"),
        ({"settings": {**SMALL, "backbone": "resnet34"}}, "does not fit iv-reid"),
        ({"num_classes": 5}, r"has shape \(4,.*, expected \(5,"),
    ],
)
def test_a_card_that_does_not_fit_its_tensors(changes, message, tmp_path):
    method = methods.build("iv-reid", SMALL, 4)
    path = tmp_path / "w.safetensors"
    write_weights(path, method.state_dict(), {**method.card(), **changes})
    with pytest.raises(CheckpointError, match=message):
        methods.restore(path)
    assert read_weights(path)


def test_a_network_larger_than_its_file_is_refused_before_it_is_built(tmp_path):
    class Allocations(torch.overrides.TorchFunctionMode):
        """Counts the bytes that layers ask for outside the outline."""

        asked = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if function is torch.empty and out.device.type != "meta":
                self.asked += out.nbytes
            return out

    method = methods.build("iv-reid", SMALL, 4)
    tensors = {k: v for k, v in method.state_dict().items() if not k.startswith(method.training_only)}
    path = tmp_path / "w.safetensors"
    for changes, message in (
        ({"settings": {**SMALL, "backbone": "resnet152"}}, "does not fit iv-reid"),
        ({"num_classes": 100_000}, "a network of [0-9,]+: it is refused"),
    ):
        write_weights(path, tensors, {**method.card(), **changes})
        with Allocations() as seen, pytest.raises(CheckpointError, match=message):
            methods.restore(path)
        assert seen.asked == 0
    write_weights(path, tensors, method.card())
    with Allocations() as seen:
        methods.restore(path)
    assert seen.asked > 0
