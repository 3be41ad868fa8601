"""The MATLAB reader against SciPy's writer, and against bytes no writer makes."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from ivreid.datasets.matlab import read_cells, read_mat
from ivreid.errors import DataError

KINDS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@settings(max_examples=80, deadline=None, database=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.booleans(), st.integers(0, 4), st.integers(0, 40)
)
def test_numbers_and_cells_as_scipy_writes_them(tmp_path_factory, seed, kind, compressed, rows, columns):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 100, (rows, columns)).astype(kind)
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = [matrix, matrix.T, np.zeros((0, 0))]
    nested = np.empty((1, 2), dtype=object)
    nested[0] = [cells, matrix]
    savemat(path, {"other": np.arange(5), "a": matrix, "c": nested}, do_compression=compressed)
    np.testing.assert_array_equal(read_mat(path, "a"), matrix)
    inner, last = read_cells(path, "c")
    np.testing.assert_array_equal(last, matrix)
    assert inner.shape == (3, 1)
    for found, wanted in zip(inner[:, 0], cells[:, 0], strict=True):
        np.testing.assert_array_equal(found, wanted)


def element(kind, data, order="<"):
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(values, shape=(1, 2), order="<", mx_class=6, dims_kind=5, flags=0, name=b"a"):
    parts = element(6, struct.pack(order + "II", mx_class | flags, 0), order)
    parts += element(dims_kind, struct.pack(order + "i" * len(shape), *shape), order)
    return element(14, parts + element(1, name, order) + values, order)


def mat_file(body, order="<", version=0x0100):
    return bytes(124) + struct.pack(order + "H", version) + (b"IM" if order == "<" else b"MI") + body


TWO = element(9, struct.pack("<dd", 1.5, 2.5))


def test_both_byte_orders(tmp_path):
    path = tmp_path / "a.mat"
    for order in "<>":
        path.write_bytes(
            mat_file(matrix(element(9, struct.pack(order + "dd", 1.5, 2.5), order), order=order), order)
        )
        assert read_mat(path, "a").tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "has no variable `a`; it has none"),
        (struct.pack("<II", 14, 10**9), "claims 1,000,000,000 bytes"),
        (element(15, b"not compressed"), "compressed data are damaged"),
        (element(15, zlib.compress(b"short")), "an array was expected"),
        (element(9, bytes(8)), "an array was expected where an element of kind 9 stands"),
        (element(14, b""), "incomplete"),
        (matrix(TWO, shape=(1, -2)), r"dimensions \(1, -2\)"),
        (matrix(TWO, shape=(1, 2, 1)), r"dimensions \(1, 2, 1\)"),
        (matrix(TWO, dims_kind=7), "dimensions"),
        (matrix(TWO, dims_kind=99), "element of kind 99"),
        (matrix(TWO, shape=(2**31 - 1, 2**31 - 1)), "holds 2 numbers"),
        (matrix(TWO, shape=(2**31 - 1, 1), mx_class=1), "cells were expected, 1 are there"),
        (matrix(TWO, mx_class=2), "something other than real numbers"),
        (matrix(TWO, flags=0x0800), "something other than real numbers"),
        (matrix(element(9, bytes(12))), "a number is cut off"),
        (matrix(b""), "holds 0 numbers"),
    ],
)
def test_malformed_files(body, message, tmp_path):
    path = tmp_path / "a.mat"
    path.write_bytes(mat_file(body))
    with pytest.raises(DataError, match=message) as caught:
        read_mat(path, "a")
    assert "a.mat" in str(caught.value)


def test_cells_in_cells_without_end(tmp_path):
    body = TWO
    for _ in range(50):
        body = matrix(body, shape=(1, 1), mx_class=1)
    (tmp_path / "a.mat").write_bytes(mat_file(body))
    with pytest.raises(DataError, match="too deep"):
        read_mat(tmp_path / "a.mat", "a")


def test_other_versions_and_foreign_files(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    for content, message in (
        (mat_file(b"", version=0x0200), "-v7"),
        (mat_file(b"", version=0x0300), "version is 0x0300"),
        (bytes(200), "does not begin as one"),
        (b"", "does not begin as one"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_mat(path, "a")
    with pytest.raises(DataError, match="cannot read"):
        read_mat(tmp_path, "a")
    monkeypatch.setattr("ivreid.datasets.matlab.MAX_BYTES", 300)
    path.write_bytes(mat_file(element(15, zlib.compress(bytes(10_000)))))
    with pytest.raises(DataError, match="unpacks to more than 300 bytes"):
        read_mat(path, "a")
    path.write_bytes(bytes(301))
    with pytest.raises(DataError, match="over 300 are refused"):
        read_mat(path, "a")
