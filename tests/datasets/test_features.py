"""Features files: what is written is read again, MATLAB files too, hostile files get one message."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from ivreid.datasets.features import (
    features_size,
    read_features,
    read_marks,
    read_matlab_features,
    read_pids,
    write_features,
)
from ivreid.errors import DataError
from ivreid.types import Embeddings, ImageTable


def embeddings(paths=()):
    table = ImageTable([7, 7, 9], [1, 3, 6], [1, 1, 1], [False, True, True], paths)
    return Embeddings(np.arange(12).reshape(3, 4), table)


def columns(value):
    images = value.images
    return [
        images.pids.tolist(),
        images.camids.tolist(),
        images.frames.tolist(),
        images.infrared.tolist(),
        images.paths,
    ]


ARRAYS = {"embeddings": np.ones((2, 3), np.float32), "pids": [1, 1], "camids": [1, 3], "frames": [1, 1]}


@pytest.mark.parametrize("paths", [(), ("cam1/7/1.jpg", "cam3/7/1.jpg", "cam6/9/1.jpg")])
def test_round_trip(paths, tmp_path):
    write_features(tmp_path / "f.npz", embeddings(paths))
    again = read_features(tmp_path / "f.npz")
    np.testing.assert_array_equal(again.vectors, embeddings().vectors)
    assert columns(again) == columns(embeddings(paths))
    with np.load(tmp_path / "f.npz", allow_pickle=False) as plain:
        assert plain["modality"].tolist() == ["visible", "infrared", "infrared"]
        assert plain["embeddings"].dtype == np.float32


def test_half_precision_halves_the_vectors_and_is_read_as_single(tmp_path):
    images, dimensions = 300, 64
    vectors = np.random.default_rng(0).normal(size=(images, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(images)
    whole = Embeddings(vectors, ImageTable(ids, ids % 6 + 1, ids + 1, ids % 2 == 0))
    for half in (False, True):
        write_features(tmp_path / f"{half}.npz", whole, half=half, weights="0" * 16)
    again = read_features(tmp_path / "True.npz")
    assert again.vectors.dtype == np.float32 and columns(again) == columns(whole)
    # half a unit of the eleventh bit, or of the smallest number that float16 has
    assert (np.abs(again.vectors - vectors) <= np.maximum(2.0**-11 * np.abs(vectors), 2.0**-25)).all()
    assert not np.array_equal(again.vectors, vectors)
    full, halved = ((tmp_path / f"{half}.npz").stat().st_size for half in (False, True))
    assert full - halved == 2 * images * dimensions
    assert halved <= features_size(images, dimensions, half=True) < full
    assert read_marks(tmp_path / "True.npz") == read_marks(tmp_path / "False.npz")


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1e4, r"2 embedding\(s\) do not fit .* first row 1, .* 70000"), (1e-9, "first row 0")],
)
def test_vectors_that_half_precision_cannot_hold_are_refused(factor, message, tmp_path):
    path = tmp_path / "f.npz"
    write_features(path, embeddings())
    before = path.read_bytes()
    large = Embeddings(factor * np.arange(12).reshape(3, 4), embeddings().images)
    with pytest.raises(DataError, match=rf"f\.npz: .*{message}.*; leave --half out"):
        write_features(path, large, half=True)
    assert path.read_bytes() == before
    write_features(path, large)
    np.testing.assert_array_equal(read_features(path).vectors, large.vectors)
    zero = Embeddings(np.zeros((3, 4)), embeddings().images)
    write_features(path, zero, half=True)  # it was zero before
    assert not read_features(path).vectors.any()


@pytest.mark.parametrize(
    ("protocol", "camids", "infrared"),
    [("sysu-mm01", [2, 6], [False, True]), ("regdb", [1, 2], [False, True])],
)
def test_cameras_imply_the_modality_where_they_can(protocol, camids, infrared, tmp_path):
    np.savez(tmp_path / "f.npz", **{**ARRAYS, "camids": camids})
    assert read_features(tmp_path / "f.npz", protocol=protocol).images.infrared.tolist() == infrared
    for other in (None, "llcm"):
        with pytest.raises(
            DataError, match="`modality` is missing, and only the cameras of sysu-mm01, regdb"
        ):
            read_features(tmp_path / "f.npz", protocol=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"embeddings": None},
            "lacks embeddings; a features file holds embeddings, pids, camids, frames; this one holds pids, camids, frames",
        ),
        (
            {"embeddings": None, "feats": [[1, 2]], "pids": None, "PID": [1]},
            "save `feats` as `embeddings` if it is that; save `PID` as `pids` if it is that",
        ),
        ({"pids": [1]}, "pids has 1, camids has 2"),
        ({"pids": [1, 1, 1], "camids": [1, 1, 3], "frames": [1, 2, 1]}, "2 embeddings for 3 images"),
        (
            {"embeddings": [[1, np.nan], [0, 0]]},
            r"NaN or infinite values, first row 0 \(pid 1, camera 1, frame 1\)",
        ),
        ({"embeddings": [[1, 1], [0, np.inf]]}, "first row 1"),
        ({"embeddings": [1.0, 2.0]}, r"`embeddings` must have 2 dimension\(s\)"),
        ({"embeddings": [["a"], ["b"]]}, "must be real numbers"),
        ({"embeddings": [[1j], [2j]]}, "must be real numbers"),
        ({"camids": [3, 3]}, "appear more than once, first: pid 1, camera 3, frame 1"),
        ({"pids": [1.5, 2]}, "`pids` must hold whole numbers"),
        ({"pids": [1e300, 2]}, "`pids` must hold whole numbers"),
        ({"pids": [np.nan, 2]}, "`pids` must hold whole numbers"),
        ({"embeddings": [[1e300, 0], [0, 1]]}, "hold NaN or infinite values, first row 0"),
        ({"pids": ["a", "b"]}, "`pids` must hold whole numbers"),
        ({"modality": ["visible", "sonar"]}, "holds 'sonar'; it must be visible or infrared"),
        (
            {"modality": [0, 1]},
            "holds 0; it must be visible or infrared, or booleans that are True for infrared",
        ),
        (
            {"embeddings": np.ones((3, 2))},
            r"3 embeddings for 2 images.*\(dimensions, images\)\? transpose them",
        ),
        ({"paths": [1, 2]}, "`paths` must be a list of text, it is int64"),
        ({"modality": ["visible"]}, "infrared has 1"),
    ],
)
def test_wrong_content_is_named(change, message, tmp_path):
    arrays = {name: value for name, value in {**ARRAYS, **change}.items() if value is not None}
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_features(tmp_path / "f.npz", protocol="sysu-mm01")
    assert "f.npz" in str(caught.value)


def test_a_pickle_inside_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "f.npz", **{**ARRAYS, "pids": np.array([Trap(), Trap()], dtype=object)})
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        read_features(tmp_path / "f.npz", protocol="sysu-mm01")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("paths", r"text \(dtype str\)"),
        ("modality", r"text \(dtype str\)"),
        ("pids", "whole numbers"),
        ("embeddings", "one float32 matrix"),
    ],
)
def test_a_field_of_python_objects_is_named_with_the_remedy(name, remedy, tmp_path):
    np.savez(tmp_path / "f.npz", **{**ARRAYS, name: np.array(["a", None], dtype=object)})
    with pytest.raises(DataError, match=f"f.npz.*`{name}` holds Python objects.*save it as {remedy}"):
        read_features(tmp_path / "f.npz", protocol="sysu-mm01")


@pytest.mark.parametrize(
    "words", [["RGB", "thermal"], [b"vis", b"NIR"], [False, True], np.array(["Visible", "IR"])]
)
def test_usual_words_for_the_modality_and_booleans_are_read(words, tmp_path):
    np.savez(tmp_path / "f.npz", **ARRAYS, modality=words, paths=[b"a.jpg", "\u00e9.jpg".encode()])
    images = read_features(tmp_path / "f.npz").images
    assert images.infrared.tolist() == [False, True]
    assert images.paths == ("a.jpg", "\u00e9.jpg")


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "f.npz"
    with pytest.raises(DataError, match=r"no such features file, nor MATLAB files f\.npz_cam1\.mat"):
        read_features(path)
    for content in (b"", b"PK\x03\x04 nonsense", b"plain text"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"f\.npz"):
            read_features(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="one bare array"):
        read_features(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("embeddings", "pids", "camids", "frames"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00rubbish")
    with pytest.raises(DataError, match=r"f\.npz"):
        read_features(path)


def valid_npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **ARRAYS)
    return buffer.getvalue()


@settings(max_examples=150, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_damaged_npz_files_give_a_data_error_or_still_read(tmp_path_factory, changes, cut):
    content = bytearray(valid_npz())
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path_factory.mktemp("damaged") / "f.npz"
    path.write_bytes(bytes(content[: len(content) - cut]))
    try:
        read_features(path, protocol="sysu-mm01")
    except DataError as error:
        assert "f.npz" in str(error)


def write_matlab(folder, cells, variable="feature"):
    for camid in range(1, 7):
        array = np.empty((1, len(cells[camid])), dtype=object)
        array[0] = cells[camid]
        savemat(folder / f"net_cam{camid}.mat", {variable: array})


def matlab_cells(width=3):
    rng = np.random.default_rng(0)
    counts = {1: (2, 0, 1), 2: (0, 0, 3), 3: (1, 1, 1), 4: (0, 2, 0), 5: (1, 1, 1), 6: (2, 2, 2)}
    return {
        camid: [rng.normal(size=(n, width)) if n else np.zeros((0, 0)) for n in c]
        for camid, c in counts.items()
    }


def test_matlab_features_as_the_official_script_keeps_them(tmp_path):
    cells = matlab_cells()
    write_matlab(tmp_path, cells)
    found = read_features(tmp_path / "net")
    images = found.images
    assert len(found) == 20
    assert (images.infrared == np.isin(images.camids, (3, 6))).all()
    for vector, pid, camid, frame in zip(
        found.vectors, images.pids, images.camids, images.frames, strict=True
    ):
        np.testing.assert_array_equal(vector, cells[camid][pid - 1][frame - 1].astype(np.float32))
    assert set(read_matlab_features(tmp_path / "net", pids=[1, 3]).images.pids.tolist()) == {1, 3}
    with pytest.raises(DataError, match="no features of the identities asked for"):
        read_matlab_features(tmp_path / "net", pids=[8])


def test_matlab_files_that_do_not_fit(tmp_path):
    cells = matlab_cells()
    cells[4][1] = np.ones((2, 5))
    write_matlab(tmp_path, cells)
    with pytest.raises(DataError, match=r"net_cam4\.mat: cell 2 .* shape \(2, 5\); expected \(images, 3\)"):
        read_features(tmp_path / "net")
    cells[4][1] = np.array([["a", "b", "c"]])
    write_matlab(tmp_path, cells)
    with pytest.raises(DataError, match=r"net_cam4\.mat is not a readable MATLAB file"):
        read_features(tmp_path / "net")
    cells[4][1] = np.full((2, 3), np.nan)
    write_matlab(tmp_path, cells)
    with pytest.raises(DataError, match="NaN or infinite values"):
        read_features(tmp_path / "net")
    (tmp_path / "net_cam2.mat").unlink()
    with pytest.raises(DataError, match=r"cannot read .*net_cam2\.mat"):
        read_features(tmp_path / "net")
    write_matlab(tmp_path, matlab_cells(), variable="features")
    with pytest.raises(DataError, match="no variable `feature`; it has features"):
        read_features(tmp_path / "net")


def test_matlab_features_given_as_dimensions_by_images(tmp_path):
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(range(1, 7), (2, 2, 2))
    cells = {camid: [rng.normal(size=(8, n)) for n in c] for camid, c in counts.items()}
    write_matlab(tmp_path, cells)
    with pytest.warns(
        UserWarning, match="every cell of `feature` is 8 x 2, more images a person than dimensions"
    ):
        read_features(tmp_path / "net")
    cells[2][1] = rng.normal(size=(8, 3))
    write_matlab(tmp_path, cells)
    with pytest.raises(
        DataError, match=r"cell 2 .* shape \(8, 3\); .*with \(dimensions, images\), transpose them"
    ):
        read_features(tmp_path / "net")
    write_matlab(tmp_path, {camid: [cell.T[:2] for cell in c] for camid, c in cells.items()})
    assert len(read_features(tmp_path / "net")) == 36  # warnings are errors here: nothing is suspected


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6), st.integers(0, 400))
def test_damaged_matlab_files_give_a_data_error_or_still_read(tmp_path_factory, changes, cut):
    folder = tmp_path_factory.mktemp("damaged")
    write_matlab(folder, matlab_cells())
    path = folder / "net_cam1.mat"
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(bytes(content[: len(content) - cut]))
    try:
        read_features(folder / "net")
    except DataError as error:
        assert "net_cam" in str(error)


def test_version_7_3_files_say_what_to_do(tmp_path):
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    for camid in range(1, 7):
        (tmp_path / f"net_cam{camid}.mat").write_bytes(header + bytes(512))
    with pytest.raises(DataError, match="-v7"):
        read_features(tmp_path / "net")


def test_identity_lists(tmp_path):
    savemat(tmp_path / "test_id.mat", {"id": np.array([[6, 10, 17]], dtype=np.uint16)})
    assert read_pids(tmp_path / "test_id.mat") == (6, 10, 17)
    (tmp_path / "test_id.txt").write_text("6,10, 17\n")
    assert read_pids(tmp_path / "test_id.txt") == (6, 10, 17)
    (tmp_path / "test_id.txt").write_text("6,ten")
    with pytest.raises(DataError, match="identity numbers separated by commas"):
        read_pids(tmp_path / "test_id.txt")
    with pytest.raises(DataError, match="cannot read"):
        read_pids(tmp_path / "absent.txt")
    savemat(tmp_path / "test_id.mat", {"id": np.array([[6.5]])})
    with pytest.raises(DataError, match="`id` must hold whole numbers"):
        read_pids(tmp_path / "test_id.mat")
