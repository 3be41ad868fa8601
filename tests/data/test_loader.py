from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision import transforms

from ivreid.data import (
    AugmentSettings,
    Batch,
    BatchSettings,
    Preprocessing,
    TrainingSet,
    TrainLoader,
    normalise,
    open_training_set,
    prefetch,
    usable_workers,
)
from ivreid.errors import ConfigError, DataError, ImageError, UsageError
from ivreid.inference.image_inputs import GivenImages
from ivreid.types import Modality, Sample
from time_limits import wait_until

SIZE = (48, 16)
BATCH = BatchSettings(identities=4, instances=2)
AUGMENT = AugmentSettings(
    padding=4, jitter=0.5, grey=0.2, channel_exchange=0.4, erasing=0.4, channel_erasing=0.3
)


@pytest.fixture(scope="module")
def data(image_folder: Path, samples: tuple[Sample, ...]) -> TrainingSet:
    return open_training_set(image_folder, samples, SIZE, workers=1)


def loader(data: TrainingSet, **options: int) -> TrainLoader:
    return TrainLoader(data, BATCH, AUGMENT, seed=3, **{"workers": 0, **options})


def fields(batch: Batch) -> list[torch.Tensor]:
    return [batch.images, batch.labels, batch.infrared, batch.indices, batch.view]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y)
        for p, q in zip(a, b, strict=True)
        for x, y in zip(fields(p), fields(q), strict=True)
    )


def test_a_batch_is_what_its_fields_say(data: TrainingSet, samples: tuple[Sample, ...]) -> None:
    for batch in loader(data).epoch(0):
        assert batch.images.shape == (16, 3, *SIZE) and batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.view.dtype == torch.int8 and not batch.view.any()
        for label, infrared, index in zip(*(f.tolist() for f in fields(batch)[1:4]), strict=True):
            assert data.pids[label] == samples[index].pid
            assert infrared == (samples[index].modality is Modality.INFRARED)
    assert data.pids == tuple(sorted({s.pid for s in samples})) and data.num_classes == 6


def test_pixels_come_from_the_sample_named(data: TrainingSet) -> None:
    plain = TrainLoader(data, BATCH, AugmentSettings(flip=0, padding=0), seed=3, workers=0)
    for batch in plain.epoch(1):
        for image, index in zip(batch.images, batch.indices.tolist(), strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), data.images.read(index))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(data: TrainingSet, workers: int) -> None:
    assert same(list(loader(data).epoch(2)), list(loader(data, workers=workers).epoch(2)))


def test_an_epoch_resumes_at_any_batch(data: TrainingSet) -> None:
    whole = list(loader(data).epoch(5))
    assert len(whole) == loader(data).batches_in(5) > 1
    for start in range(len(whole) + 1):
        assert same(list(loader(data, workers=1).epoch(5, start)), whole[start:])


def test_epochs_differ(data: TrainingSet) -> None:
    one = loader(data)
    assert not same(list(one.epoch(0)), list(one.epoch(1)))
    assert same(list(one.epoch(0)), list(loader(data).epoch(0)))


def test_processes_share_the_single_batch(data: TrainingSet) -> None:
    whole = list(loader(data).epoch(1))
    shares = [list(loader(data, rank=r, world_size=2).epoch(1)) for r in range(2)]
    joined = [
        Batch(*(torch.cat(pair) for pair in zip(*map(fields, batches), strict=True)))
        for batches in zip(*shares, strict=True)
    ]
    assert same(joined, whole)


def test_cached_and_decoded_batches_are_equal_bit_for_bit(
    image_folder: Path, samples: tuple[Sample, ...], data: TrainingSet, tmp_path: Path
) -> None:
    cached = open_training_set(image_folder, samples, SIZE, cache=tmp_path, dataset="x", workers=2)
    assert same(list(loader(cached).epoch(0)), list(loader(data).epoch(0)))


def test_an_image_drawn_twice_is_augmented_in_two_ways(
    image_folder: Path, samples: tuple[Sample, ...]
) -> None:
    few = [s for s in samples if s.frame == 1]  # one image a modality: all are repeated
    data = open_training_set(image_folder, few, SIZE)
    (batch,) = TrainLoader(data, BatchSettings(identities=6, instances=4), AUGMENT, 0, workers=0).epoch(0)
    images = {image.numpy().tobytes() for image in batch.images}
    assert len(images) > 40 and len(set(batch.indices.tolist())) == 12


def test_an_unreadable_image_stops_training_by_name(image_folder: Path, samples: tuple[Sample, ...]) -> None:
    bad = (*samples, Sample("visible/10/nothing.jpg", 10, 1, Modality.VISIBLE, 99))
    data = open_training_set(image_folder, bad, SIZE)
    with pytest.raises(ImageError, match=r"nothing\.jpg"):
        for epoch in itertools.count():
            list(loader(data, workers=2).epoch(epoch))


def test_stop_names_the_way_out_and_skip_lists_the_skipped(
    image_folder: Path, samples: tuple[Sample, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Sample("visible/10/nothing.jpg", 10, 1, Modality.VISIBLE, 99)
    with pytest.raises(ImageError, match=r"nothing\.jpg[\s\S]*on_bad_image=skip"):
        open_training_set(image_folder, (lost, *samples), SIZE, cache=tmp_path)
    data = open_training_set(image_folder, (lost, *samples), SIZE, cache=tmp_path, on_bad_image="skip")
    assert data.skipped == (lost,) and data.samples == samples
    assert "nothing.jpg" in caplog.text
    fresh = open_training_set(image_folder, samples, SIZE)
    assert same(list(loader(data).epoch(0)), list(loader(fresh).epoch(0)))


def test_an_identity_whose_images_were_all_skipped_in_one_modality_is_named(
    image_folder: Path, samples: tuple[Sample, ...]
) -> None:
    lost = [s for s in samples if s.pid != 12 or s.modality is Modality.VISIBLE]
    lost.append(Sample("gone.png", 12, 2, Modality.INFRARED, 1))
    data = open_training_set(image_folder, lost, SIZE, on_bad_image="skip")
    with pytest.raises(DataError, match="1 without any infrared"):
        loader(data)


def test_more_padding_than_image_is_refused(data: TrainingSet) -> None:
    with pytest.raises(ConfigError, match=r"augment\.padding is 16"):
        TrainLoader(data, BATCH, AugmentSettings(padding=16), 0)


def test_normalise_is_the_usual_pipeline_bit_for_bit() -> None:
    pixels = torch.randint(
        0, 256, (3, 3, 20, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = Preprocessing().mean, Preprocessing().std
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    expected = torch.stack([steps(image.permute(1, 2, 0).numpy()) for image in pixels])
    for channels_last in (True, False):
        out = normalise(pixels, mean, std, channels_last)
        assert torch.equal(out, expected)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert out.is_contiguous(memory_format=layout)
    assert pixels.dtype == torch.uint8


def test_batches_move() -> None:
    batch = Batch(*(torch.zeros(2, 3, 4, 4), torch.zeros(2), torch.zeros(2), torch.arange(2), torch.zeros(2)))
    moved = batch.to("meta")
    assert len(moved) == 2
    # what decides which rows a method takes is needed on the CPU
    assert {name for name, value in vars(moved).items() if value is not None and not value.is_meta} == {
        "infrared",
        "view",
    }


def test_prefetch_keeps_order_and_raises_in_turn() -> None:
    def make(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        if item == 17:
            raise ImageError("seventeen")
        return item * item

    for workers in (0, 1, 3):
        got: list[int] = []
        with pytest.raises(ImageError, match="seventeen"):
            for value in prefetch(make, range(40), workers):
                got.append(value)
        assert got == [i * i for i in range(17)]


def test_prefetch_works_ahead_only_so_far_and_ends_when_left() -> None:
    started: list[int] = []
    made: Iterator[int] = prefetch(lambda i: started.append(i) or i, range(1000), 2, ahead=4)
    assert next(made) == 0
    wait_until(lambda: len(started) >= 5)  # the one taken and four ahead
    assert sorted(started) == [0, 1, 2, 3, 4]
    made.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("ivreid-data")]


def test_a_second_view_is_the_same_image_changed_anew_and_read_once(data: TrainingSet) -> None:
    reads: list[int] = []

    class Counting:
        def __len__(self) -> int:
            return len(data.images)

        def read(self, row: int) -> np.ndarray:
            reads.append(row)
            return data.images.read(row)

    counting = replace(data, images=Counting())
    augment = AugmentSettings(padding=4, jitter=0.5, channel_exchange=0.4, erasing=0.4)
    options = {"identities": 4, "instances": 2}
    once = list(TrainLoader(data, BatchSettings(**options), augment, 3, workers=0).epoch(1))
    two = TrainLoader(counting, BatchSettings(**options, views={"visible": 2}), augment, 3, workers=0)
    reads.clear()
    batches = list(two.epoch(1))
    assert len(batches) == len(once)
    assert len(reads) == sum(len(set(batch.indices.tolist())) for batch in once)
    differing = 0
    for batch, plain in zip(batches, once, strict=True):
        assert batch.view.tolist() == [0, 0, 0, 0, 1, 1] * 4
        first = batch.view == 0
        assert torch.equal(batch.images[first], plain.images), "view 0 is as where there is no other"
        assert torch.equal(batch.labels[first], plain.labels)
        second = batch.images[~first]
        beside = plain.images[~plain.infrared]
        assert torch.equal(batch.indices[~first], plain.indices[~plain.infrared])
        differing += sum(not torch.equal(a, b) for a, b in zip(second, beside, strict=True))
    assert differing > 0.9 * 8 * len(once)


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
def test_images_are_resized_by_the_filter_that_is_asked_for(
    image_folder: Path, samples: tuple[Sample, ...], tmp_path: Path, name: Any
) -> None:
    with Image.open(image_folder / samples[0].path) as opened:
        whole = opened.convert("RGB")
    wanted = np.asarray(whole.resize((16, 48), getattr(Image.Resampling, name.upper())))
    for cache in (None, tmp_path):
        for other in ("bilinear", name):  # a cache of another filter is another file
            data = open_training_set(image_folder, samples, SIZE, resize=other, cache=cache, dataset="x")
        assert np.array_equal(data.images.read(0), wanted)
    given = GivenImages([whole, np.asarray(whole), image_folder / samples[0].path], SIZE, by=name)
    assert all(np.array_equal(given.read(row), wanted) for row in range(3))


def test_workers_are_checked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("ivreid.data.workers.available_cores", lambda: 2)
    assert usable_workers(None) == 2 and usable_workers(0) == 0
    assert usable_workers(1234) == usable_workers(1234) == 2
    assert caplog.text.count("1234 workers asked for, 2 core(s) here") == 1, (
        "told once, not at every validation"
    )
    with pytest.raises(UsageError, match="-1"):
        usable_workers(-1)


def test_preprocessing_is_checked() -> None:
    for wrong in ({"size": (4, 128)}, {"std": (0.1, 0.0, 0.1)}, {"mean": (0.5,)}):
        with pytest.raises(ValidationError):
            Preprocessing(**wrong)


def test_grey_files_become_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(20, 10)).save(tmp_path / "g.png")
    data = open_training_set(tmp_path, [Sample("g.png", 1, 1, Modality.INFRARED, 1)], SIZE)
    pixels = data.images.read(0)
    assert np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])


def test_unknown_people_are_no_class(image_folder: Path, samples: tuple[Sample, ...]) -> None:
    unknown = replace(samples[0], pid=-1)
    data = open_training_set(image_folder, [unknown, *samples[1:]], SIZE, workers=1)
    assert unknown not in data.samples and len(data) == len(samples) - 1
    assert data.pids[0] >= 0 and not data.skipped
