"""NumPy's files without NumPy's reader: the same arrays, and a claim never takes memory."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ivreid.datasets.arrays import read_npz
from ivreid.errors import DataError

ARRAYS = arrays.arrays(
    st.one_of(
        arrays.boolean_dtypes(),
        arrays.integer_dtypes(),
        arrays.floating_dtypes(),
        arrays.complex_number_dtypes(),
        arrays.unicode_string_dtypes(),
        arrays.byte_string_dtypes(),
    ),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@given(ARRAYS, st.booleans(), st.booleans())
def test_arrays_are_those_that_numpy_reads(tmp_path_factory, array, compressed, fortran):
    folder = tmp_path_factory.mktemp("arrays")
    array = np.asfortranarray(array) if fortran else array
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", x=array, other=np.arange(3))
    with np.load(folder / "a.npz") as archive:
        wanted = archive["x"]
    found = read_npz(folder / "a.npz", ["x", "none"])["x"]
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()


def npy(shape, descr="<f8", data=b"", version=1, fortran=False):
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header(version, tmp_path):
    path = archive(tmp_path / "a.npz", {"x": npy((2,), data=struct.pack("<dd", 1, 2), version=version)})
    assert read_npz(path, ["x"])["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy((10**12,)), r"shape \(1000000000000,\) would take 8000000000000 bytes, and 0 are there"),
        (npy((2**63, 2**63, 0)), "would take 0 bytes|cut short|cannot read|not a readable"),
        (npy((1,), "<U2", b"a\0\0\0\xff\xff\xff\x7f"), "its text holds numbers that stand for no letter"),
        (npy((1,), ">U1", b"\0\x11\0\0"), "its text holds numbers that stand for no letter"),
        (npy((3,), data=bytes(16)), "would take 24 bytes, and 16 are there"),
        (npy((1,), data=bytes(16)), "would take 8 bytes, and 16 are there"),
        (npy((-1,)), "the header of `x` cannot be read"),
        (npy((True,)), "the header of `x` cannot be read"),
        (npy((1.0,)), "the header of `x` cannot be read"),
        (npy((1,) * 40, data=bytes(8)), "the header of `x` cannot be read"),
        (npy((1,), "|O", bytes(8)), "`x` holds Python objects, which are never loaded; save it as text"),
        (npy((1,), [("a", "<f8")], bytes(8)), "holds .*; save it as text"),
        (npy((1,), "V8", bytes(8)), "save it as text"),
        (npy((1,), "(1000000,)f8"), "save it as text"),
        (npy((1,), "M8[s]", bytes(8)), "save it as text"),
        (npy((1,), "nonsense"), "the header of `x` cannot be read"),
        (npy((1,)).replace(b"'shape'", b"'spahe'"), "the header of `x` cannot be read"),
        (b"\x93NUMPY\1\0\xff\xff" + b"(" * 65535, "is 65,535 bytes long"),
        (b"\x93NUMPY\1\0\x00\x20" + b"(" * 0x2000, "the header of `x` cannot be read"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "4,294,967,295 bytes long"),
        (b"\x93NUMPY\7\0", "is no NumPy array"),
        (b"hello", "is no NumPy array"),
        (b"", "is no NumPy array"),
    ],
)
def test_claims_that_are_not_true(content, message, tmp_path):
    path = archive(tmp_path / "a.npz", {"x": content})
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path, ["x"], {"x": "text"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
    assert "allow_pickle" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_bombs_are_refused_by_their_sizes(tmp_path):
    path = tmp_path / "a.npz"
    large = npy((40 << 20,), "|u1", bytes(40 << 20))
    archive(path, dict.fromkeys("abcdef", large), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 3 << 20
    tracemalloc.start()
    assert read_npz(path, ["a", "b"])["b"].nbytes == 40 << 20
    tracemalloc.reset_peak()
    with pytest.raises(DataError, match="claim to unpack to 251,6"):
        read_npz(path, "abcdef")
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    archive(path, {str(i): b"" for i in range(1100)})
    with pytest.raises(DataError, match="1,100 parts"):
        read_npz(path, ["a"])


def test_all_headers_are_read_before_any_data(tmp_path):
    path = archive(tmp_path / "a.npz", {"a": npy((30 << 20,), "|u1", bytes(30 << 20)), "b": npy((5,))})
    tracemalloc.start()
    with pytest.raises(DataError, match="0 are there"):
        read_npz(path, ["a", "b"])
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_flipped_bit_is_refused(tmp_path):
    data = np.arange(64, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=data)
    whole = (tmp_path / "a.npz").read_bytes()
    start = whole.index(data.tobytes())
    for at in range(start, start + 64):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(DataError, match="Bad CRC-32"):
            read_npz(tmp_path / "a.npz", ["x"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer; `git lfs pull`"),
        (b"<html>", "it is a HTML page; the download gave a web page"),
        (b'{"mAP": 1}', "it is a JSON file; `ivreid report` and `ivreid compare` read results"),
        (b"\x1f\x8b", "it is a gzip archive; unpack it"),
        (b"PK\3\4", "not a readable .npz file"),
        (b"", "not a readable .npz file"),
        (npy((0,)), "one bare array"),
    ],
)
def test_other_files_are_named(content, message, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_npz(tmp_path / "a.npz", ["x"])


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(DataError, match="cannot read"):
            read_npz(path, ["x"])
