"""`ivreid score` as people call it."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from ivreid.datasets.features import write_features
from ivreid.protocols import evaluate, make_protocol, read_results, score
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


def test_files_in_half_precision_are_scored_as_their_rounded_vectors(ivreid, tmp_path):
    whole = embeddings()
    rounded = Embeddings(whole.vectors.astype(np.float16), whole.images)
    infrared = whole.images.infrared
    for name, rows in (("whole", infrared | True), ("q", infrared), ("g", ~infrared)):
        write_features(tmp_path / f"{name}.npz", whole.take(rows), half=True)
        write_features(tmp_path / f"{name}32.npz", rounded.take(rows))
    found = {}
    for end in ("", "32"):
        words = ("--protocol", "sysu-mm01", "--json", tmp_path / f"o{end}.json")
        assert ivreid("score", tmp_path / f"whole{end}.npz", *words).status == 0
        found["whole", end] = read_results(tmp_path / f"o{end}.json")[0].trials
        sides = ("--query", tmp_path / f"q{end}.npz", "--gallery", tmp_path / f"g{end}.npz")
        assert ivreid("score", *sides, *words).status == 0
        found["sides", end] = read_results(tmp_path / f"o{end}.json")[0].trials
    assert found["whole", ""] == found["whole", "32"]
    assert found["whole", ""] == evaluate(rounded, make_protocol("sysu-mm01")).trials
    assert found["sides", ""] == found["sides", "32"]


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
    assert read_results(tmp_path / "o.json")[0].rerank == (
        "k-reciprocal (k1=20, k2=6, weight=0.3; query- and gallery-transductive)"
    )


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


def distances_of(query, gallery):
    unit = [
        e.vectors.astype(float) / np.linalg.norm(e.vectors.astype(float), axis=1)[:, None]
        for e in (query, gallery)
    ]
    return 1 - unit[0] @ unit[1].T


def scored(ivreid, folder, *words):
    assert ivreid("score", *words, "--json", folder / "o.json").status == 0
    return read_results(folder / "o.json")[0]


def test_ready_distances_need_no_embeddings(ivreid, features, tmp_path):
    whole = embeddings()
    images = whole.images
    np.savez(tmp_path / "ids.npz", pids=images.pids, camids=images.camids, frames=images.frames)
    plain = scored(ivreid, tmp_path, features, "--protocol", "sysu-mm01")
    (tmp_path / "twenty.txt").write_text(",".join(map(str, range(1, 21))))
    some = scored(
        ivreid, tmp_path, features, "--protocol", "sysu-mm01", "--test-ids", tmp_path / "twenty.txt"
    )
    for matrix in (
        distances_of(whole, whole),
        distances_of(whole.take(images.infrared), whole.take(~images.infrared)),
    ):
        np.save(tmp_path / "d.npy", matrix)
        words = (tmp_path / "ids.npz", "--protocol", "sysu-mm01", "--distances", tmp_path / "d.npy")
        found = scored(ivreid, tmp_path, *words)
        assert found.trials == plain.trials
        assert found.fingerprints.keys() == {"split", "features", "distances"}
        assert found.extra["per_identity"] == plain.extra["per_identity"]
        rows = {(row["query"], row["gallery"]) for row in found.extra["breakdown"]["modalities"]}
        assert (("visible", "visible") in rows) is (matrix.shape[0] == matrix.shape[1])
        assert scored(ivreid, tmp_path, *words, "--test-ids", tmp_path / "twenty.txt").trials == some.trials


def test_query_and_gallery_in_files_of_their_own(ivreid, tmp_path):
    whole = embeddings()
    side = whole.images.infrared
    query, gallery = whole.take(side), whole.take(~side)
    for name, part in (("q", query), ("g", gallery)):
        ids = part.images
        np.savez(tmp_path / f"{name}.npz", embeddings=part.vectors, pids=ids.pids, camids=ids.camids)
    words = ("--query", tmp_path / "q.npz", "--gallery", tmp_path / "g.npz", "--protocol", "sysu-mm01")
    found = scored(ivreid, tmp_path, *words)
    assert found.trials == score(query=query, gallery=gallery, protocol="sysu-mm01").trials
    assert found.fingerprints.keys() == {"split", "query", "gallery"}
    assert found.title.startswith("Query and gallery as given, camera rule of sysu-mm01, infrared-to-visible")
    np.save(tmp_path / "d.npy", distances_of(query, gallery))
    assert scored(ivreid, tmp_path, *words, "--distances", tmp_path / "d.npy").trials == found.trials
    ranked = scored(ivreid, tmp_path, *words, "--rerank", "k-reciprocal")
    assert "RE-RANKED" in ranked.title and ranked.trials != found.trials


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a features file, or the files of query and gallery"),
        (["--query", "f.npz"], "give a features file, or the files of query and gallery"),
        (["f.npz", "--query", "f.npz", "--gallery", "f.npz"], "belong into each of them"),
        (["--query", "f.npz", "--gallery", "f.npz", "--mode", "all"], "mode would choose the gallery"),
        (["--query", "f.npz", "--gallery", "f.npz", "--test-ids", "t.txt"], "from one features file"),
        (["f.npz", "--distances", "absent.npy"], "cannot read absent.npy"),
        (["f.npz", "--distances", "f.npz"], "f.npz is an archive; save the matrix alone"),
        (["f.npz", "--distances", "text.npy"], "text.npy is not a readable .npy file"),
        (["f.npz", "--distances", "objects.npy"], "objects.npy is not a readable .npy file"),
        (["f.npz", "--distances", "row.npy"], "row.npy holds float64 of shape (3,), and no matrix"),
        (["f.npz", "--distances", "small.npy"], "or (infrared, visible) = (180, 360)"),
        (["f.npz", "--distances", "d.npy", "--rerank", "k-reciprocal"], "needs the embeddings"),
    ],
)
def test_files_that_do_not_go_together(ivreid, features, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npy").write_text("no array")
    np.save("objects.npy", np.array([[None]]), allow_pickle=True)
    np.save("row.npy", np.ones(3))
    np.save("small.npy", np.ones((3, 3)))
    np.save("d.npy", np.ones((540, 540)))
    outcome = ivreid("score", *words, "--protocol", "sysu-mm01")
    assert outcome.status == 2 and message in outcome.err
    assert not outcome.out


def test_doubts_about_matlab_features_stand_in_the_notes(ivreid, tmp_path):
    rng = np.random.default_rng(0)
    for camid in range(1, 7):
        cells = np.empty((3, 1), dtype=object)
        cells[:, 0] = [rng.normal(size=(8, 2)) for _ in range(3)]  # (dimensions, images)
        savemat(tmp_path / f"net_cam{camid}.mat", {"feature": cells})
    outcome = ivreid("score", tmp_path / "net", "--protocol", "sysu-mm01")
    assert outcome.status == 0
    assert "every cell of `feature` is 8 x 2" in outcome.out and "transpose them" in outcome.out
