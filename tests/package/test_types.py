"""Values refuse to exist when they are wrong."""

import dataclasses

import numpy as np
import pytest

from ivreid.errors import DataError
from ivreid.types import Embeddings, ImageTable, Modality, Sample


def table(n=4, **changes):
    columns = {"pids": range(n), "camids": [1] * n, "frames": [1] * n, "infrared": [False] * n} | changes
    return ImageTable(**{k: np.array(list(v)) for k, v in columns.items()})


def test_columns_of_unequal_length_are_named():
    with pytest.raises(DataError, match="camids has 3"):
        table(camids=[1, 1, 1])


def test_the_same_image_twice_is_refused_with_its_ids():
    with pytest.raises(DataError, match=r"pid 7, camera 2, frame 3"):
        table(pids=[7, 7, 1, 2], camids=[2, 2, 1, 1], frames=[3, 3, 1, 1])


def test_fractional_ids_are_refused():
    with pytest.raises(DataError, match="whole numbers"):
        table(pids=[0.5, 1, 2, 3])


def test_whole_floats_are_accepted_as_matlab_writes_them():
    assert table(pids=[1.0, 2.0, 3.0, 4.0]).pids.dtype == np.int64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_embeddings_with_nan_cannot_exist(bad):
    vectors = np.ones((4, 3), dtype=np.float32)
    vectors[2, 1] = bad
    with pytest.raises(DataError, match=r"first row 2 \(pid 2"):
        Embeddings(vectors, table())


def test_embeddings_count_must_equal_images():
    with pytest.raises(DataError, match="5 embeddings for 4 images"):
        Embeddings(np.ones((5, 3)), table())


def test_values_are_immutable():
    t = table()
    with pytest.raises(ValueError, match="read-only"):
        t.pids[0] = 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        t.pids = np.zeros(4)


def test_the_caller_keeps_no_handle_on_the_values():
    pids = np.arange(4)
    t = table(pids=pids)
    pids[0] = 99
    assert t.pids[0] == 0


def test_take_keeps_rows_together():
    samples = [Sample(f"{p}.jpg", p, 3, Modality.INFRARED, 1) for p in (5, 6, 7)]
    part = ImageTable.from_samples(samples).take([2, 0])
    assert part.pids.tolist() == [7, 5]
    assert part.paths == ("7.jpg", "5.jpg")
    assert part.infrared.all()


@pytest.mark.parametrize("flags", [[1, 2], [2.0, 0.0], [-1, 0]])
def test_flags_that_are_numbers_of_something_else_are_refused(flags):
    with pytest.raises(DataError, match="`infrared` must hold true or false"):
        ImageTable([1, 1], [0, 0], [1, 2], flags)
    assert ImageTable([1, 1], [0, 0], [1, 2], [1, 0]).infrared.tolist() == [True, False]
