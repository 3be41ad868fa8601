"""Bad input: what is wrong, where, and what would be right."""

import numpy as np
import pytest

from ivreid.errors import DataError, ProtocolError, UsageError
from ivreid.protocols import DIRECTIONS, Permutations, evaluate, make_protocol
from ivreid.types import Embeddings, ImageTable


def table(*rows):
    """Rows of (pid, camid, frame, infrared)."""
    pids, camids, frames, infrared = zip(*rows, strict=True)
    return ImageTable(pids, camids, frames, infrared)


SMALL = table((1, 1, 1, False), (1, 1, 2, False), (1, 3, 1, True), (2, 2, 1, False), (2, 6, 1, True))


def evaluated(images, protocol):
    return evaluate(Embeddings(np.ones((len(images), 2)), images), protocol)


def permutations(changes, trials=10):
    counts = {(1, 1): 2, (1, 3): 1, (2, 2): 1, (2, 6): 1}
    cells = [[np.zeros((trials, 0), np.uint8) for _ in range(2)] for _ in range(6)]
    for (pid, camid), n in counts.items():
        cells[camid - 1][pid - 1] = np.tile(np.arange(1, n + 1), (trials, 1))
    for (pid, camid), matrix in changes.items():
        cells[camid - 1][pid - 1] = np.array(matrix)
    return Permutations("perm.mat", tuple(map(tuple, cells)))


def test_the_small_table_is_fine():
    evaluated(SMALL, make_protocol("sysu-mm01", permutations=permutations({})))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sysu", {}, "unknown protocol 'sysu'; did you mean sysu-mm01"),
        ("market", {}, "known: sysu-mm01, regdb, llcm, cross-modality"),
        (
            "sysu-mm01",
            {"direction": DIRECTIONS[0]},
            "has no option direction .* options are mode, shots, draw, cmc",
        ),
        ("sysu-mm01", {"trial": 3}, "has no option trial"),
        ("sysu-mm01", {"mode": "outdoor"}, "mode 'outdoor' does not fit sysu-mm01; it takes all, indoor"),
        ("sysu-mm01", {"shots": 5}, "it takes 1, 10"),
        ("sysu-mm01", {"cmc": "person"}, "it takes image, identity"),
        (
            "sysu-mm01",
            {"shots": 10},
            "agw draw takes one image .*--draw official --permutations rand_perm_cam.mat",
        ),
        ("sysu-mm01", {"shots": 10, "draw": "iv-reid"}, "iv-reid draw takes one image"),
        ("sysu-mm01", {"draw": "official"}, "needs the dataset authors' permutations"),
        ("regdb", {"shots": 1}, "regdb has no option shots .* direction, trial, cmc"),
        ("regdb", {"trial": 11}, "trial 11 does not fit regdb"),
        ("regdb", {"direction": "visible-to-infrared-swapped"}, "does not fit regdb"),
        ("llcm", {"mode": "all"}, "llcm has no option mode"),
        (
            "llcm",
            {"direction": "infrared"},
            "it takes infrared-to-visible, visible-to-infrared, visible-to-inf",
        ),
        ("folder", {"draw": "agw"}, "folder has no option draw"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_those_that_do(name, options, message):
    with pytest.raises(UsageError, match=message):
        make_protocol(name, **options)


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        ("sysu-mm01", table((1, 1, 1, False), (1, 7, 1, True)), r"first: camera 7 \(identity 1\).* 1 to 6"),
        (
            "sysu-mm01",
            table((1, 1, 1, False), (4, 3, 1, False)),
            r"camera 3 .* called visible \(identity 4\)",
        ),
        ("sysu-mm01", table((1, 1, 1, False)), "among 1 images there is no infrared one"),
        ("sysu-mm01", table((1, 6, 1, True)), "there is no visible one"),
        (
            "sysu-mm01",
            table((1, 1, 2, False), (1, 3, 1, True)),
            "identity 1, camera 1: expected frames 1 to 1, found 2",
        ),
        (
            "sysu-mm01",
            table((1, 2, 1, False), (1, 3, 1, True)),
            "none of 1 queries has a true match left among 1",
        ),
        ("regdb", table((1, 3, 1, False), (1, 2, 1, True)), "camera 3"),
        ("regdb", table((1, 1, 1, False), (2, 2, 1, True)), "do both modalities show the same identities"),
        ("llcm", table((1, 1, 1, False), (1, 10, 1, True)), "known cameras are 1 to 9"),
        ("llcm", table((1, 1, 1, False), (1, 1, 1, True)), "none of 1 queries has a true match left"),
        ("folder", table((1, 0, 1, False)), "there is no infrared one"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, images, message):
    with pytest.raises(ProtocolError, match=message):
        evaluated(images, make_protocol(name))


def test_an_indoor_gallery_without_indoor_cameras_is_empty():
    images = table((1, 4, 1, False), (1, 3, 1, True))
    with pytest.raises(ProtocolError, match="indoor-search gallery is empty"):
        evaluated(images, make_protocol("sysu-mm01", mode="indoor"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({(1, 1): np.tile([1, 2, 3], (10, 1))}, "camera 1, identity 1: expected 3 image.s., found 2"),
        ({(2, 2): np.zeros((10, 0))}, "camera 2, identity 2: expected 0 image.s., found 1"),
        ({(2, 2): np.zeros(0)}, "camera 2, identity 2: expected 0 image.s., found 1"),
        ({(1, 1): np.tile([1, 1], (10, 1))}, "expected 10 permutations of 1 to 2, found something else"),
        ({(1, 1): np.tile([0, 1], (10, 1))}, "expected 10 permutations"),
        ({(1, 1): np.tile([1, 2], (9, 1))}, "expected 10 permutations"),
    ],
)
def test_permutations_that_do_not_fit_name_camera_identity_expected_and_found(changes, message):
    with pytest.raises(ProtocolError, match=message):
        evaluated(SMALL, make_protocol("sysu-mm01", permutations=permutations(changes)))


def test_permutations_without_that_identity_or_with_too_few_images():
    unknown = table((1, 1, 1, False), (1, 1, 2, False), (1, 3, 1, True), (9, 2, 1, False))
    with pytest.raises(ProtocolError, match="camera 2, identity 9: the permutations know identities 1 to 2"):
        evaluated(unknown, make_protocol("sysu-mm01", permutations=permutations({})))
    with pytest.raises(ProtocolError, match="camera 1, identity 1: 10 shots asked for, 2 image"):
        evaluated(SMALL, make_protocol("sysu-mm01", shots=10, permutations=permutations({})))


def test_permutation_files_that_are_something_else(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "rand_perm_cam.mat"
    with pytest.raises(DataError, match="cannot read"):
        Permutations.read(path)
    path.write_bytes(b"not a matlab file" * 20)
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        make_protocol("sysu-mm01", permutations=path)
    savemat(path, {"id": np.arange(3)})
    with pytest.raises(DataError, match="no variable `rand_perm_cam`; it has id"):
        Permutations.read(path)
    savemat(path, {"rand_perm_cam": np.arange(6)})
    with pytest.raises(DataError, match="must be a cell vector"):
        Permutations.read(path)
    cells = np.empty((6, 1), dtype=object)
    cells[:, 0] = [np.arange(3)] * 6
    savemat(path, {"rand_perm_cam": cells[:5]})
    with pytest.raises(DataError, match="one cell for each of 6 cameras, it has 5"):
        Permutations.read(path)
    savemat(path, {"rand_perm_cam": cells})
    with pytest.raises(DataError, match="camera 1 must be a cell vector over identities"):
        Permutations.read(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sysu-mm01", {"mode": "all", "shots": 1, "draw": "agw", "cmc": "identity"}),
        ("regdb", {"direction": "infrared-to-visible", "trial": None, "cmc": "image"}),
        ("llcm", {"direction": "infrared-to-visible", "cmc": "identity"}),
        ("cross-modality", {"direction": "infrared-to-visible", "cmc": "image"}),
        ("folder", {"direction": "infrared-to-visible", "cmc": "image"}),
    ],
)
def test_defaults(name, options):
    assert make_protocol(name).options == options


def test_the_draw_given_wins_over_the_permutations_file(tmp_path):
    protocol = make_protocol("sysu-mm01", draw="agw", permutations=tmp_path / "absent.mat")
    assert protocol.options["draw"] == "agw"
    assert make_protocol("sysu-mm01", permutations=permutations({})).options["draw"] == "official"


def test_titles_name_every_variant():
    title = make_protocol("sysu-mm01", mode="indoor", shots=10, permutations=permutations({})).title
    assert title == "SYSU-MM01, indoor-search, multi-shot (10), official permutations, identity CMC"
    assert make_protocol("regdb", trial=4).title == "RegDB, infrared-to-visible, split 4, image CMC"
    swapped = make_protocol("llcm", direction="visible-to-infrared-swapped")
    assert "swapped" in swapped.title
    assert "do not compare" in swapped.notes(SMALL)[0]
