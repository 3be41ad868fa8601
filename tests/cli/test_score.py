"""`ivreid score` as people call it."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from ivreid.datasets.features import write_features
from ivreid.protocols import evaluate, make_protocol, read_results
from ivreid.types import Embeddings, ImageTable


def embeddings(identities=30):
    rng = np.random.default_rng(0)
    rows = [(p, c, f) for p in range(1, identities + 1) for c in range(1, 7) for f in range(1, 4)]
    pids, camids, frames = np.array(rows).T
    vectors = rng.normal(size=(identities + 1, 8))[pids] + rng.normal(size=(len(rows), 8))
    return Embeddings(vectors, ImageTable(pids, camids, frames, np.isin(camids, (3, 6))))


@pytest.fixture
def features(tmp_path):
    write_features(tmp_path / "f.npz", embeddings())
    return tmp_path / "f.npz"


def test_table_in_percent_and_json_in_fractions(ivreid, features, tmp_path):
    outcome = ivreid(
        "score", features, "--protocol", "sysu-mm01", "--mode", "indoor", "--json", tmp_path / "o.json"
    )
    assert outcome.status == 0
    (result,) = read_results(tmp_path / "o.json")
    assert isinstance(json.loads((tmp_path / "o.json").read_text()), dict)
    expected = evaluate(embeddings(), make_protocol("sysu-mm01", mode="indoor"))
    assert result.trials == expected.trials
    assert result.fingerprints.keys() == {"split", "features"}
    for name in ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP"):
        assert f"{100 * expected.mean[name]:.2f}" in outcome.out
        assert f"± {100 * expected.std[name]:.2f}" in outcome.out
    text = " ".join(outcome.out.replace("│", " ").split())
    assert "indoor-search" in text
    assert "drawn as AGW does" in text
    assert "30 identities; SYSU-MM01's test set has 96" in text


def test_matlab_files_give_the_same_figures(ivreid, features, tmp_path):
    whole = embeddings()
    for camid in range(1, 7):
        cells = np.empty((31, 1), dtype=object)
        for pid in range(1, 32):
            rows = (whole.images.pids == pid) & (whole.images.camids == camid)
            cells[pid - 1, 0] = whole.vectors[rows]
        savemat(tmp_path / f"net_cam{camid}.mat", {"feature": cells})
    savemat(tmp_path / "test_id.mat", {"id": np.arange(1, 21)})
    (tmp_path / "test_id.txt").write_text(",".join(map(str, range(1, 21))))
    options = ("--protocol", "sysu-mm01", "--metric", "euclidean", "--json")
    for source, ids, out in (
        (features, "test_id.txt", "npz.json"),
        (tmp_path / "net", "test_id.mat", "mat.json"),
    ):
        assert ivreid("score", source, "--test-ids", tmp_path / ids, *options, tmp_path / out).status == 0
    (one,), (other,) = read_results(tmp_path / "npz.json"), read_results(tmp_path / "mat.json")
    assert one.trials == other.trials
    assert one.fingerprints["split"] == other.fingerprints["split"]


def test_re_ranked_rows_are_marked(ivreid, features, tmp_path):
    outcome = ivreid(
        "score",
        features,
        "--protocol",
        "sysu-mm01",
        "--rerank",
        "k-reciprocal",
        "--json",
        tmp_path / "o.json",
    )
    assert outcome.status == 0
    assert "RE-RANKED" in outcome.out
    assert read_results(tmp_path / "o.json")[0].rerank == "k-reciprocal (k1=20, k2=6, weight=0.3)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "sysu"], "did you mean sysu-mm01"),
        (["--protocol", "sysu-mm01", "--shots", "10"], "--draw official --permutations rand_perm_cam.mat"),
        (["--protocol", "sysu-mm01", "--direction", "visible-to-infrared"], "has no option direction"),
        (["--protocol", "sysu-mm01", "--metric", "l2"], "known metrics: cosine, euclidean"),
        (["--protocol", "sysu-mm01", "--rerank", "magic"], "there is no re-ranking 'magic'"),
        (["--protocol", "sysu-mm01", "--permutations", "absent.mat"], "cannot read absent.mat"),
        (["--protocol", "sysu-mm01", "--test-ids", "absent.txt"], "cannot read absent.txt"),
        (["--protocol", "regdb"], "cameras that regdb does not have"),
    ],
)
def test_bad_use_ends_with_one_message_and_status_2(ivreid, features, options, message):
    outcome = ivreid("score", features, *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not outcome.out


def test_a_missing_file_is_named(ivreid, tmp_path):
    outcome = ivreid("score", tmp_path / "absent.npz", "--protocol", "regdb")
    assert outcome.status == 2
    assert "absent.npz: no such features file" in outcome.err
