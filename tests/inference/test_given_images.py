"""The same picture in every form that a caller may have it gives the same pixels; other things are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivreid.errors import DataError, ImageError, UsageError
from ivreid.inference.image_inputs import GivenImages, one_by_one
from ivreid.retrieval import rank
from ivreid.types import Embeddings, ImageTable

SIZE = (12, 8)


def pixels(images: Any, value_range: Any = "refuse", colour: Any = "rgb") -> np.ndarray:
    source = GivenImages(one_by_one(images), SIZE, value_range, colour=colour)
    return np.stack([source.read(row) for row in range(len(source))])


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """(5, 20, 10, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (5, 20, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(batch: np.ndarray) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(p).resize((8, 12), Image.Resampling.BILINEAR)) for p in batch]
    )


def test_batches_of_either_layout(batch: np.ndarray, expected: np.ndarray) -> None:
    first = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    for form in (batch, first):
        for images in (form, torch.from_numpy(form), list(form), list(torch.from_numpy(form)), tuple(form)):
            assert np.array_equal(pixels(images), expected)
        assert np.array_equal(pixels(form[2]), expected[2:3])
        assert np.array_equal(pixels(torch.from_numpy(form[2])), expected[2:3])
    strided = torch.from_numpy(batch).permute(0, 3, 1, 2)  # channels-last memory
    assert np.array_equal(pixels(strided), expected) and len(one_by_one(strided)) == 5


def test_blue_first_as_opencv_has_it(batch: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    bgr = batch[..., ::-1]
    first = np.ascontiguousarray(bgr.transpose(0, 3, 1, 2))
    for form in (bgr, first, torch.from_numpy(first), list(first), first / 255):
        assert np.array_equal(pixels(form, colour="bgr"), expected)
    assert np.array_equal(pixels(bgr[1], colour="bgr"), expected[1:2])
    assert np.array_equal(pixels(batch[:, :, :, :1], colour="bgr"), pixels(batch[:, :, :, :1]))
    Image.fromarray(batch[0]).save(tmp_path / "a.png")  # files and Pillow images know their colours
    for form in (tmp_path / "a.png", Image.fromarray(batch[0]), (tmp_path / "a.png").read_bytes()):
        assert np.array_equal(pixels(form, colour="bgr"), expected[:1])
    with pytest.raises(UsageError, match="color 'gbr' is unknown"):
        pixels(batch, colour="gbr")


def test_a_fourth_channel_is_opacity(batch: np.ndarray) -> None:
    rgba = np.concatenate([batch, np.full((*batch.shape[:3], 1), 255, np.uint8)], axis=3)
    assert np.array_equal(pixels(rgba), pixels(batch))
    assert np.array_equal(pixels(rgba.transpose(0, 3, 1, 2)), pixels(batch))
    rgba[:, 10:, :, 3] = 0
    black = batch.copy()
    black[:, 10:] = 0
    assert np.array_equal(pixels(rgba), pixels(black))
    bgra = rgba[..., [2, 1, 0, 3]]
    assert np.array_equal(pixels(bgra, colour="bgr"), pixels(black))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_the_bytes_of_a_file_are_the_file(batch: np.ndarray, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(batch[0]).save(file)
    want, data = pixels(file), file.read_bytes()
    for form in (data, bytearray(data), memoryview(data), [data]):
        assert np.array_equal(pixels(form), want)
    assert np.array_equal(pixels([data, file, batch[0]])[:2], np.concatenate([want, want]))


def test_a_folder_is_its_images_in_the_order_of_their_paths(batch: np.ndarray, tmp_path: Path) -> None:
    for number, name in enumerate(("b/1.png", "a.png", "b/0.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(batch[number]).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    for form in (tmp_path, str(tmp_path)):
        assert np.array_equal(pixels(form), pixels(batch[[1, 2, 0]]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        one_by_one(tmp_path / "empty")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_are_black_to_white(batch: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> None:
    tensor = (torch.from_numpy(batch).permute(0, 3, 1, 2).to(dtype) / 255).requires_grad_()
    assert np.array_equal(pixels(tensor), expected), "as torchvision's ToTensor makes them, with gradients"
    assert np.array_equal(pixels(tensor.detach().numpy()), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_floats_of_few_bits(batch: np.ndarray, dtype: torch.dtype) -> None:
    """bf16 holds 8 bits of a number: at most 255 x 2^-9 off, half a level, which rounding makes one."""
    tensor = torch.from_numpy(batch).to(dtype) / 255
    found = pixels(tensor.permute(0, 3, 1, 2).requires_grad_())
    near = pixels(np.rint(tensor.double().numpy() * 255).astype(np.uint8))
    assert np.array_equal(found, near) and np.abs(found.astype(int) - pixels(batch)).max() <= 1


def test_grey_in_every_form(batch: np.ndarray) -> None:
    grey = batch[:, :, :, 0]
    three = pixels(np.repeat(grey[..., None], 3, axis=3))
    assert np.array_equal(pixels(list(grey)), three), "a list of 2-D arrays is a list of grey images"
    assert np.array_equal(pixels(grey[:, None]), three) and np.array_equal(pixels(grey[..., None]), three)
    assert np.array_equal(pixels(torch.from_numpy(grey[:, None]).float() / 255), three)
    assert np.array_equal(pixels(Image.fromarray(grey[1])), three[1:2])


def test_deep_grey_follows_the_rule(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(2600, 2740, (20, 10)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    for rule in ("image", (2500.0, 2800.0)):
        want = pixels(tmp_path / "a.png", rule)
        forms = (
            values,
            values.astype(np.float32),
            torch.from_numpy(values.astype(np.int32)),
            Image.open(tmp_path / "a.png"),
        )
        for form in forms:
            assert np.array_equal(pixels([form], rule), want)
    for form in (values, torch.from_numpy(values.astype(np.float32)), Image.open(tmp_path / "a.png")):
        with pytest.raises(ImageError, match=r"image 0: .*(must be uint8|no rule)"):
            pixels([form])


def test_pillow_images_are_read_as_their_files_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGBA", (20, 30), (250, 10, 10, 0))
    picture.paste((90, 90, 90, 255), (2, 2, 8, 20))
    picture.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(Image.open(tmp_path / "a.png")))
    assert np.array_equal(pixels(str(tmp_path / "a.png")), pixels([tmp_path / "a.png"]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 20, 10), np.uint8), r"uint8 and shape \(5, 20, 10\).*batches have one dimension more"),
        (np.zeros((2, 20, 10, 5), np.uint8), r"shape \(20, 10, 5\)"),
        (b"\xff\xd8", "not a readable JPEG, PNG"),
        (b"", "empty"),
        (np.zeros((3, 20, 3), np.uint8), "two ways"),
        (torch.zeros(3, 20, 10, dtype=torch.int64), "int64"),
        (torch.zeros(3, 20, 10, dtype=torch.bool), "bool"),
        (torch.zeros(20, 10), "float32"),
        (torch.full((3, 20, 10), -2.1), "floats from -2.1 to -2.1"),
        (torch.full((3, 20, 10), 1.5), "normalised"),
        (torch.full((3, 20, 10), torch.nan), "floats from nan"),
        (torch.zeros(3, 20, 10, dtype=torch.complex64), "complex64"),
        (torch.zeros(3, 20, 10).to_sparse(), "without plain values"),
        (torch.zeros(3, 20, 10, device="meta"), "without plain values"),
        ([np.zeros((1, 3, 20, 10), np.uint8)], r"shape \(1, 3, 20, 10\)"),
        ([None], "object"),
        ([[[1, 2], [3]]], "list"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=f"image 0: .*{message}"):
        pixels(image)


@pytest.mark.parametrize("images", [None, 3, {"a": 1}, object()])
def test_what_holds_no_images_is_refused(images: Any) -> None:
    with pytest.raises(UsageError, match="files, their bytes, a folder, Pillow images, arrays or tensors"):
        one_by_one(images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_a_gpu(batch: np.ndarray, expected: np.ndarray) -> None:
    tensor = torch.from_numpy(batch).permute(0, 3, 1, 2).cuda()
    assert np.array_equal(pixels(tensor), expected)
    assert np.array_equal(pixels((tensor / 255).requires_grad_()), expected)
    vectors = torch.rand(5, 4, device="cuda", requires_grad=True)
    assert np.array_equal(Embeddings(vectors, table(5)).vectors, vectors.detach().cpu().numpy())


def table(count: int) -> ImageTable:
    ids = torch.arange(count)
    return ImageTable(pids=ids, camids=ids, frames=ids + 1, infrared=ids % 2 == 0)


@given(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]), st.booleans())
@settings(max_examples=12, deadline=None)
def test_embeddings_take_tensors(dtype: torch.dtype, grad: bool) -> None:
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_(grad)
    plain = vectors.detach().float().numpy()
    for form in (vectors, list(vectors), vectors.T.contiguous().T):
        held = Embeddings(form, table(6))
        assert np.array_equal(held.vectors, plain) and held.vectors.dtype == np.float32
        assert not held.vectors.flags.writeable and held.images.pids.tolist() == list(range(6))
    if not grad:
        vectors[0, 0] = 99
        assert held.vectors[0, 0] != 99, "a value, not a view"
    ranking = rank(vectors, vectors, k=1)
    assert ranking.indices[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize(
    "wrong", [[[1.0, 2.0], [1.0]], [["a", "b"]], [[None, 1.0]], torch.zeros(1, 2, device="meta")]
)
def test_what_is_no_embedding_is_refused(wrong: Any) -> None:
    with pytest.raises(DataError, match="embeddings"):
        Embeddings(wrong, table(1))
