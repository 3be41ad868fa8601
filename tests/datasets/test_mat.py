"""The MATLAB reader against SciPy's writer, and against bytes no writer makes."""

import struct
import tracemalloc
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
        (matrix(TWO, shape=(2**31 - 1, 1), mx_class=1), "cells were expected, in 24 bytes"),
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
    large = matrix(element(9, bytes(10_000)), shape=(1, 1250))
    path.write_bytes(mat_file(element(15, zlib.compress(large))))
    with pytest.raises(DataError, match="unpacks to more than 300 bytes"):
        read_mat(path, "a")
    path.write_bytes(bytes(301))
    with pytest.raises(DataError, match="over 300 are refused"):
        read_mat(path, "a")


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def compressed(*parts):
    """A compressed variable whose bytes follow from the parts without being all in memory."""
    stream = zlib.compressobj(1)
    return element(15, b"".join([*map(stream.compress, parts), stream.flush()]))


def head(size, shape, mx_class, name=b"a"):
    inner = matrix(b"", shape, mx_class=mx_class, name=name)[8:]
    return struct.pack("<II", 14, len(inner) + size) + inner


ZEROS = bytes(1 << 20)


def test_small_files_that_stand_for_much_are_refused_in_little_memory(tmp_path):
    path = tmp_path / "a.mat"
    size = 48 << 20
    number = struct.pack("<II", 9, size)
    for body, message in (
        # an array whose dimensions do not account for the bytes
        (compressed(head(size + 8, (1, 2), 6), number, *[ZEROS] * 48), "holds 6291456 numbers"),
        # cells by the million
        (compressed(head(size, (1, 3_000_000), 1), *[ZEROS] * 48), "more than 100,000 cells"),
        (compressed(head(size, (1, 5), 1), *[ZEROS] * 48), "an array was expected"),
        # a variable nobody asked for
        (
            compressed(head(size + 8, (1, size // 8), 6, b"b"), number, *[ZEROS] * 48),
            "no variable `a`; it has b",
        ),
        # bytes behind a sound head
        (compressed(head(size, (1, 1), 6), *[ZEROS] * 48), "numbers were expected"),
    ):
        path.write_bytes(mat_file(body))
        assert path.stat().st_size < 1 << 20

        def read(message=message):
            with pytest.raises(DataError, match=message):
                read_mat(path, "a")

        assert peak_of(read) < 8 << 20


def test_an_array_takes_its_own_memory_and_no_more(tmp_path):
    path = tmp_path / "a.mat"
    size = 32 << 20
    body = compressed(head(size + 8, (1, size // 8), 6), struct.pack("<II", 9, size), *[ZEROS] * 32)
    path.write_bytes(mat_file(body))
    assert read_mat(path, "a").nbytes == size
    # the bytes themselves, and what growing them to that length takes
    assert peak_of(lambda: read_mat(path, "a")) < 2.5 * size


def test_other_files_are_named(tmp_path):
    path = tmp_path / "a.mat"
    for content, message in (
        (
            b"version https://git-lfs.github.com/spec/v1\n" + bytes(100),
            "it is a Git LFS pointer; `git lfs pull`",
        ),
        (b"<!DOCTYPE html>" + bytes(200), "it is a HTML page; the download gave a web page"),
        (b"PK\x03\x04" + bytes(200), "it is a ZIP archive; unpack it"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_mat(path, "a")
