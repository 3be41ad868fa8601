from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn

from ivreid.data import Preprocessing
from ivreid.distributed.device import choose_device
from ivreid.errors import DataError, ImageError, UsageError
from ivreid.inference import Embedder, embed_samples, prepare_for_inference
from ivreid.methods.base import Method
from ivreid.types import Modality, Sample

PREPROCESSING = Preprocessing(size=(32, 16))


class Tiny(Method):
    """Two convolutions; infrared images are told apart, so that a mixed-up row shows."""

    name = "tiny"
    citation = "none"
    Settings: ClassVar[Any] = BaseModel

    def __init__(self, norm_first: bool = False) -> None:
        super().__init__(None, 1, (8, 8))
        self.embedding_dim = 12
        self.norm_first = norm_first
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Conv2d(3, 12, 3, stride=2)
        self.batches: list[int] = []
        self.threads: set[int] = set()
        with torch.no_grad():
            for i, tensor in enumerate((*self.parameters(), self.norm.running_mean, self.norm.running_var)):
                tensor.uniform_(0.2, 1.0, generator=torch.Generator().manual_seed(i))

    def embed(self, images: Tensor, infrared: Tensor) -> Tensor:
        self.batches.append(len(images))
        x = self.conv(self.norm(images)) if self.norm_first else self.norm(self.conv(images))
        # the squares keep an embedding from being nearly constant over images
        return self.last(torch.relu(x)).square().mean((2, 3)) + infrared[:, None] * torch.arange(12.0)

    def forward(self, images: Tensor, labels: Tensor, infrared: Tensor) -> dict[str, Tensor]:
        return {"sum": self.embed(images, infrared).sum()}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (30 + i, 20 - i % 7, 3), dtype=np.uint8) // (1 + i % 4) for i in range(21)]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i:02d}.png")
    return tmp_path


def embedder(method: Method | None = None, **options: Any) -> Embedder:
    return Embedder(method or Tiny(), PREPROCESSING, **{"device": "cpu", "workers": 0, **options})


def by_hand(method: Tiny, pictures: list[np.ndarray], infrared: list[bool], flip: bool = False) -> np.ndarray:
    """One image at a time: resize, normalise, network, L2 norm."""
    rows = []
    for picture, ir in zip(pictures, infrared, strict=True):
        small = Image.fromarray(picture).resize((16, 32), Image.Resampling.BILINEAR)
        x = (np.asarray(small).astype(np.float64) / 255 - PREPROCESSING.mean) / PREPROCESSING.std
        views = [x, x[:, ::-1]] if flip else [x]
        batch = torch.tensor(np.stack(views).transpose(0, 3, 1, 2).copy(), dtype=torch.float32)
        with torch.no_grad():
            vector = method.eval().embed(batch, torch.tensor([ir] * len(views))).double().mean(0).numpy()
        rows.append(vector / np.sqrt((vector * vector).sum()))
    return np.stack(rows)


def test_embeddings_are_the_networks_own(pictures: list[np.ndarray]) -> None:
    for modality in Modality:
        out = embedder().embed(pictures, modality)
        assert out.shape == (21, 12) and out.dtype == np.float32
        infrared = [modality is Modality.INFRARED] * 21
        np.testing.assert_allclose(out, by_hand(Tiny(), pictures, infrared), atol=2e-6)
    assert np.abs(out - out[0]).max() > 1e-3, "the images differ"


def test_files_pillow_images_and_arrays_agree(folder: Path, pictures: list[np.ndarray]) -> None:
    one = embedder()
    files = sorted(folder.iterdir())
    expected = one.embed(pictures, "visible")
    assert np.array_equal(one.embed(files, "visible"), expected)
    assert np.array_equal(one.embed([str(f) for f in files], "visible"), expected)
    assert np.array_equal(one.embed([Image.fromarray(p) for p in pictures], "visible"), expected)
    assert np.array_equal(one.embed(files[3], "visible"), expected[3:4])
    assert np.array_equal(one.embed(pictures[3], "visible"), expected[3:4])


def test_each_image_may_have_its_own_modality(pictures: list[np.ndarray]) -> None:
    names = ["infrared" if i % 3 else "visible" for i in range(21)]
    out = embedder(batch_size=4).embed(pictures, names)
    np.testing.assert_allclose(out, by_hand(Tiny(), pictures, [n == "infrared" for n in names]), atol=2e-6)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 2), (9, 1), (64, 2)])
def test_batch_size_and_workers_change_nothing(
    pictures: list[np.ndarray], batch_size: int, workers: int
) -> None:
    expected = embedder(batch_size=5).embed(pictures, "visible")
    out = embedder(batch_size=batch_size, workers=workers).embed(pictures, "visible")
    assert np.abs(out - expected).max() <= 1e-6


def test_progress_reaches_the_end(pictures: list[np.ndarray]) -> None:
    ticks: list[tuple[int, int]] = []
    embedder(batch_size=8).embed(pictures, "visible", progress=lambda *t: ticks.append(t))
    assert ticks == [(8, 21), (16, 21), (21, 21)]


def test_flip_averages_the_mirror_image(pictures: list[np.ndarray]) -> None:
    out = embedder(flip=True).embed(pictures, "visible")
    np.testing.assert_allclose(out, by_hand(Tiny(), pictures, [False] * 21, flip=True), atol=2e-6)
    mirrored = [p[:, ::-1] for p in pictures]
    assert np.abs(out - embedder().embed(pictures, "visible")).max() > 1e-5
    assert np.abs(embedder().embed(mirrored, "visible") - embedder().embed(pictures, "visible")).max() > 1e-5


def rows_by_hand(
    pictures: list[np.ndarray], infrared: bool, channel: int | None = None, mirror: bool = False
):
    """Each picture through the network alone, its channels copied and mirrored first; length 1."""
    rows = []
    for picture in pictures:
        small = np.asarray(Image.fromarray(picture).resize((16, 32), Image.Resampling.BILINEAR))
        if channel is not None:
            small = np.repeat(small[..., channel : channel + 1], 3, axis=2)
        x = (small.astype(np.float64) / 255 - PREPROCESSING.mean) / PREPROCESSING.std
        x = x[:, ::-1] if mirror else x
        batch = torch.tensor(x.transpose(2, 0, 1).copy(), dtype=torch.float32)[None]
        with torch.no_grad():
            row = Tiny().eval().embed(batch, torch.tensor([infrared]))[0].double().numpy()
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


def test_flip_unit_gives_both_views_the_same_weight(pictures: list[np.ndarray]) -> None:
    out = embedder(flip="unit").embed(pictures, "visible")
    mean = rows_by_hand(pictures, False) + rows_by_hand(pictures, False, mirror=True)
    np.testing.assert_allclose(out, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=2e-6)
    average = embedder(flip="average").embed(pictures, "visible")
    assert np.array_equal(average, embedder(flip=True).embed(pictures, "visible"))
    assert np.abs(out - average).max() > 1e-5
    assert np.array_equal(
        embedder(flip="none").embed(pictures, "visible"), embedder().embed(pictures, "visible")
    )
    with pytest.raises(UsageError, match="no flip 'units'; did you mean unit"):
        embedder(flip="units")


@pytest.mark.parametrize("mirror", [False, True])
def test_spectra_are_four_embeddings_in_a_row(pictures: list[np.ndarray], mirror: bool) -> None:
    one = embedder(spectra=True, flip="unit" if mirror else "none", batch_size=5)
    assert one.embedding_dim == 48
    names = ["infrared" if i % 3 else "visible" for i in range(21)]
    out = one.embed(pictures, names)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-6)
    for place, channel in enumerate((None, 0, 1, 2)):
        expected = rows_by_hand(pictures, False, channel)
        if mirror:
            expected = expected + rows_by_hand(pictures, False, channel, mirror=True)
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        part = out[:, 12 * place : 12 * place + 12]
        np.testing.assert_allclose(part[::3], expected[::3] / 2, atol=2e-6)
        assert np.array_equal(part[1::3], out[1::3, :12]), "an infrared image is embedded once"


def test_results_name_the_views() -> None:
    from ivreid.inference import tta_name

    assert [tta_name(flip) for flip in (False, "none", True, "average", "unit")] == [
        *(None, None, "flip", "flip", "flip (unit)"),
    ]
    assert (
        tta_name("none", spectra=True) == "spectra"
        and tta_name("unit", spectra=True) == "flip (unit), spectra"
    )


def test_grey_images_count_as_three_equal_channels(pictures: list[np.ndarray]) -> None:
    grey = pictures[2][..., 0]
    three = np.repeat(grey[..., None], 3, axis=2)
    out = embedder().embed([grey, three, Image.fromarray(grey)], "infrared")
    assert np.array_equal(out[0], out[1]) and np.array_equal(out[0], out[2])


def test_the_network_given_stays_as_it_was(pictures: list[np.ndarray]) -> None:
    method = Tiny().train()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    embedder(method).embed(pictures, "visible")
    assert method.training and isinstance(method.norm, nn.BatchNorm2d) and not method.batches
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert all(p.requires_grad for p in method.parameters())


def test_every_unreadable_file_is_named_and_none_skipped(folder: Path) -> None:
    (folder / "03.png").write_bytes(b"not an image")
    (folder / "17.png").write_bytes(b"")
    (folder / "20.png").write_bytes((folder / "20.png").read_bytes()[:200])
    files = [*sorted(folder.iterdir()), folder / "gone.png"]
    for workers in (0, 2):
        with pytest.raises(ImageError, match="4 image") as error:
            embedder(batch_size=4, workers=workers).embed(files, "visible")
        assert all(name in str(error.value) for name in ("03.png", "17.png", "20.png", "gone.png"))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_of_another_kind_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"must be uint8|can be read in two ways"):
        embedder().embed([wrong], "visible")


def test_wrong_calls_are_explained(pictures: list[np.ndarray]) -> None:
    with pytest.raises(UsageError, match="unknown modality 'thermal'; it is visible or infrared"):
        embedder().embed(pictures, "thermal")
    with pytest.raises(UsageError, match="2 modalities for 21 images"):
        embedder().embed(pictures, ["visible", "infrared"])
    with pytest.raises(UsageError, match="batch size is 0"):
        embedder(batch_size=0)
    assert embedder().embed([], "visible").shape == (0, 12)


def test_a_diverged_network_is_told_as_such(pictures: list[np.ndarray]) -> None:
    method = Tiny()
    with torch.no_grad():
        method.last.weight[0] = torch.nan
    with pytest.raises(DataError, match="diverged"):
        embedder(method).embed(pictures, "visible")


def test_folding_happens_and_changes_no_output(pictures: list[np.ndarray]) -> None:
    folded = prepare_for_inference(Tiny(), (32, 16))
    assert isinstance(folded.norm, nn.Identity) and folded.conv.bias is not None
    plain = prepare_for_inference(Tiny(), (32, 16), fold=False)
    assert isinstance(plain.norm, nn.BatchNorm2d)
    difference = embedder().embed(pictures, "visible") - embedder(fold=False).embed(pictures, "visible")
    assert np.abs(difference).max() <= 1e-6


def test_a_network_that_runs_its_norm_first_is_left_unfolded(pictures: list[np.ndarray]) -> None:
    assert isinstance(prepare_for_inference(Tiny(norm_first=True), (32, 16)).norm, nn.BatchNorm2d)
    out = embedder(Tiny(norm_first=True)).embed(pictures, "visible")
    np.testing.assert_allclose(out, by_hand(Tiny(norm_first=True), pictures, [False] * 21), atol=2e-6)


def test_a_cpu_computes_in_chunks_that_fit_its_cache(pictures: list[np.ndarray]) -> None:
    one = embedder(fold=False)
    one.embed(pictures, "visible")
    assert max(one.network.batches) <= 8 and sum(one.network.batches) == 21


def test_decoding_runs_beside_the_network(folder: Path) -> None:
    one, main = embedder(batch_size=2, workers=1), threading.get_ident()
    decoders = set()
    original = one.embed_source

    def spy(source: Any, *args: Any, **options: Any) -> Any:
        read = source.read
        source.read = lambda row: (decoders.add(threading.get_ident()), read(row))[1]
        return original(source, *args, **options)

    one.embed_source = spy  # type: ignore[method-assign]
    one.embed(sorted(folder.iterdir()), "visible")
    assert decoders and main not in decoders


def samples_of(folder: Path) -> list[Sample]:
    return [
        Sample(p.name, i // 4, 1 + i % 2, Modality.INFRARED if i % 2 else Modality.VISIBLE, 1 + i % 4)
        for i, p in enumerate(sorted(folder.glob("*.png")))
    ]


@pytest.mark.parametrize("cached", [False, True])
def test_a_split_keeps_its_ids(
    folder: Path, pictures: list[np.ndarray], cached: bool, tmp_path: Path
) -> None:
    samples = samples_of(folder)
    order = np.random.default_rng(1).permutation(len(samples))
    out = embed_samples(
        embedder(), folder, [samples[i] for i in order], cache=tmp_path / "cache" if cached else None
    )
    expected = by_hand(Tiny(), pictures, [s.modality is Modality.INFRARED for s in samples])
    np.testing.assert_allclose(out.vectors, expected[order], atol=2e-6)
    assert out.images.paths == tuple(samples[i].path for i in order)
    assert out.images.pids.tolist() == [samples[i].pid for i in order]


@pytest.mark.parametrize("cached", [False, True])
def test_a_split_with_unreadable_images_is_refused(folder: Path, cached: bool, tmp_path: Path) -> None:
    samples = samples_of(folder)
    for name in ("05.png", "11.png"):
        (folder / name).write_bytes(b"")
    with pytest.raises(ImageError, match=r"2 image[\s\S]*05\.png[\s\S]*11\.png"):
        embed_samples(embedder(), folder, samples, cache=tmp_path / "cache" if cached else None)
    with pytest.raises(DataError, match="no image"):
        embed_samples(embedder(), folder, [])


def test_devices_are_named_or_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError, match="unknown device 'gpu'; use auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(UsageError, match="no device 'cuda:99'"):
        choose_device("cuda:99")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees_with_the_cpu(pictures: list[np.ndarray]) -> None:
    out = embedder(device="cuda").embed(pictures, "visible")
    assert np.abs(out - embedder().embed(pictures, "visible")).max() <= 1e-5
