"""Which regions decided: against shares worked out by hand, and for every method's network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ivreid import methods
from ivreid.catalogue import METHODS
from ivreid.data import Preprocessing
from ivreid.errors import UsageError
from ivreid.inference import Embedder, explain_pairs
from ivreid.inference.attention import pair_maps

SIZE = (16, 8)
# what these methods' parts need
SIZES = {"pmt": (64, 32)}


def picture(seed, size=SIZE):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class Plain(nn.Module):
    """Two convolutions and the mean over places: the similarity is a sum over the places of either picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def embed(self, images, infrared):
        return self.last(self.stem(images).relu()).mean(dim=(2, 3))


@pytest.fixture
def plain():
    how = Preprocessing(size=SIZE)
    return SimpleNamespace(network=Plain().eval(), preprocessing=how, device=torch.device("cpu"))


def test_the_shares_are_those_of_the_mean_over_places(plain):
    pairs = [((picture(n), True), (picture(n + 10), False)) for n in range(6)]
    maps = pair_maps(plain, pairs)
    assert len(maps) == 6
    how = plain.preprocessing
    for (query, gallery), pair in zip(pairs, maps, strict=True):
        found = []
        for image, _ in (query, gallery):
            x = np.asarray(image, dtype=np.float64) / 255
            x = ((x - how.mean) / how.std).transpose(2, 0, 1)[None]
            with torch.no_grad():
                network = Plain().double()
                found.append(network.last(network.stem(torch.from_numpy(x)).relu())[0].numpy())
        means = [values.mean(axis=(1, 2)) for values in found]
        units = [mean / np.linalg.norm(mean) for mean in means]
        for side in (0, 1):
            places = found[side].shape[1] * found[side].shape[2]
            share = (
                np.einsum("chw,c->hw", found[side], units[1 - side]) / places / np.linalg.norm(means[side])
            )
            np.testing.assert_allclose(pair[side], share, atol=1e-4)
            assert pair[side].sum() == pytest.approx(float(units[0] @ units[1]), abs=1e-4)


def test_a_layer_that_decides_nothing_is_passed_over(plain):
    class Idle(Plain):
        def __init__(self):
            super().__init__()
            self.idle = nn.Conv2d(3, 2, 1)

        def embed(self, images, infrared):
            found = super().embed(images, infrared)
            self.idle(images)
            return found

    idle = SimpleNamespace(**{**vars(plain), "network": Idle().eval()})
    pair = [((picture(1), True), (picture(2), False))]
    (expected,), (found,) = pair_maps(plain, pair), pair_maps(idle, pair)
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_shows_its_regions_or_says_that_it_has_none(name):
    kind = METHODS[name]
    size = SIZES.get(name, (96, 48))
    network = methods.build(name, dict(kind.small), 4, size=size, seed=1)
    embedder = Embedder(network, Preprocessing(size=size), device="cpu", workers=1)
    before = embedder.embed([picture(1, size)], "infrared")
    trained = [weight.requires_grad for weight in embedder.network.parameters()]
    pair = [((picture(1, size), True), (picture(2, size), False))]
    if name == "pmt":
        with pytest.raises(UsageError, match="no map of places near its end"):
            pair_maps(embedder, pair)
    else:
        ((query, met),) = pair_maps(embedder, pair)
        assert query.shape == met.shape and min(query.shape) > 1
        assert np.isfinite(query).all() and query.any() and met.any()
    assert [weight.requires_grad for weight in embedder.network.parameters()] == trained
    np.testing.assert_array_equal(embedder.embed([picture(1, size)], "infrared"), before)


def test_weights_are_opened_only_when_a_map_is_asked_for(tmp_path):
    explain = explain_pairs(tmp_path / "nowhere")
    with pytest.raises(Exception, match="no such weights file"):
        explain([((picture(1), True), (picture(2), False))])
