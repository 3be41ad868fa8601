"""An exported model wherever weights are taken: evaluation, a gallery, mirror images and spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ivreid
from exported_graphs import small_graph, written
from ivreid.cli.main import main
from ivreid.datasets import load_dataset
from ivreid.gallery import Gallery
from ivreid.inference import load
from ivreid.synthetic import synthesise


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("everywhere") / "data"
    synthesise(root, layout="sysu-mm01", identities=24, images=2, size=(32, 16), seed=1, workers=1)
    return root


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Path:
    dataset = load_dataset("sysu-mm01", data)
    known = {"name": "sysu-mm01", "fingerprint": dataset.fingerprint, "trial": None}
    selection = {"on": "validation", "metric": "mAP", "pids": list(dataset.pids("val"))}
    return written(
        tmp_path,
        small_graph(),
        dataset=known,
        train_pids=list(dataset.pids("train")),
        selection=selection,
    )


def test_evaluation(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = ivreid.evaluate_run(model, data_root=data, settings=[{"mode": "all"}])
    assert result.fingerprints["model"] == "0" * 16 and 0 < result.mean["mAP"] <= 1
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(model), "--data", str(data)])
    assert left.value.code == 0 and "Rank-1" in capsys.readouterr().out


def test_a_gallery(model: Path, tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", model) as gallery:
        assert gallery.model.fingerprint == "0" * 16
    model.unlink()
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.model.embed(np.full((2, 16, 8, 3), 9, np.uint8), "visible").shape == (2, 4)


def test_views_are_those_of_the_definition(model: Path) -> None:
    """By hand: the mean colour times the matrix, of the picture, its mirror image and its channels."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), dtype=np.uint8)
    matrix = np.arange(12.0).reshape(3, 4)

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    means = pixels.mean((1, 2))
    plain = unit(means @ matrix)
    for flip in ("none", "average", "unit"):  # the mean colour of a mirror image is the same
        np.testing.assert_allclose(load(model, flip=flip).embed(pixels, "visible"), plain, rtol=1e-5)
    spectra = load(model, spectra=True)
    parts = [plain, *(unit(np.repeat(means[:, c : c + 1], 3, axis=1) @ matrix) for c in range(3))]
    np.testing.assert_allclose(spectra.embed(pixels, "visible"), np.hstack(parts) / 2, rtol=1e-5)
    np.testing.assert_allclose(spectra.embed(pixels, "infrared"), np.hstack([plain] * 4) / 2, rtol=1e-5)
    assert spectra.embedding_dim == 16
