from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ivreid
from ivreid import methods
from ivreid.cli.main import main
from ivreid.errors import CheckpointError, DataError, ImageError, UsageError
from ivreid.inference import UNKNOWN_PID, embed_folder, find_samples, load, skipped_file
from ivreid.models.weights import write_weights
from ivreid.types import NO_CAMERA, Modality

SETTINGS = {"backbone": "test_resnet", "pretrained": None}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    method = methods.build("iv-reid", SETTINGS, 5)
    card = {
        **method.card(),
        "preprocessing": {"size": [48, 24], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]},
    }
    write_weights(folder / "weights.safetensors", method.state_dict(), card)
    return folder


@pytest.fixture
def people(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in (
        "cam2/0007/b.jpg",
        "cam2/0007/a.jpg",
        "cam1/0007/a.jpg",
        "9/x.png",
        "loose.bmp",
        "cam3/y.png",
    ):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "people" / "notes.txt").write_text("not an image")
    (tmp_path / "people" / ".hidden.png").write_text("not an image")
    return tmp_path / "people"


def test_ids_come_from_the_folders_names(people: Path) -> None:
    root, samples = find_samples(people, "infrared")
    assert root == people
    assert [(s.path, s.pid, s.camid, s.frame) for s in samples] == [
        ("9/x.png", 9, NO_CAMERA, 1),
        ("cam1/0007/a.jpg", 7, 1, 1),
        ("cam2/0007/a.jpg", 7, 2, 1),
        ("cam2/0007/b.jpg", 7, 2, 2),
        ("cam3/y.png", UNKNOWN_PID, 3, 1),
        ("loose.bmp", UNKNOWN_PID, NO_CAMERA, 1),
    ]
    assert {s.modality for s in samples} == {Modality.INFRARED}


def test_one_file_is_one_sample(people: Path) -> None:
    root, (sample,) = find_samples(people / "loose.bmp", "visible")
    assert root / sample.path == people / "loose.bmp" and sample.pid == UNKNOWN_PID


def test_what_cannot_be_searched_is_explained(people: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or image"):
        find_samples(people / "nowhere", "visible")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        find_samples(tmp_path / "empty", "visible")
    (people / "infrared").mkdir()
    Image.new("RGB", (4, 4)).save(people / "infrared" / "a.png")
    with pytest.raises(UsageError, match="lies in a folder 'infrared', but the modality is 'visible'"):
        find_samples(people, "visible")


def test_weights_bring_their_preprocessing(run_folder: Path, people: Path) -> None:
    one = load(run_folder, device="cpu", workers=0)
    assert one.preprocessing.size == (48, 24) and one.preprocessing.mean == (0.4, 0.5, 0.6)
    assert one.card["method"] == "iv-reid" and one.embedding_dim == 96
    other = load(run_folder / "weights.safetensors", device="cpu", workers=1, batch_size=2)
    out = embed_folder(one, people, "visible")
    assert np.abs(out.vectors - embed_folder(other, people, "visible").vectors).max() <= 1e-6
    np.testing.assert_allclose((out.vectors.astype(np.float64) ** 2).sum(axis=1), 1, atol=1e-5)


def test_a_folder_is_embedded_by_a_path_to_weights_too(
    run_folder: Path, people: Path, tmp_path: Path
) -> None:
    loaded = embed_folder(load(run_folder, device="cpu", flip=True), people, "visible")
    by_path = ivreid.embed_folder(str(run_folder), people, "visible", device="cpu", workers=0, flip=True)
    np.testing.assert_array_equal(by_path.vectors, loaded.vectors)
    assert by_path.images.paths == loaded.images.paths
    plain = embed_folder(run_folder, people, "visible", device="cpu")
    assert np.abs(plain.vectors - loaded.vectors).max() > 1e-4
    with pytest.raises(DataError, match="no such folder"):  # said before the weights are read
        embed_folder(tmp_path / "no-weights", tmp_path / "nowhere", "visible")


def test_paths_without_weights_are_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights\.safetensors"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="no such"):
        load(tmp_path / "nothing")
    method = methods.build("iv-reid", SETTINGS, 5)
    write_weights(
        tmp_path / "w.safetensors", method.state_dict(), {**method.card(), "preprocessing": {"size": [3]}}
    )
    with pytest.raises(CheckpointError, match="preprocessing"):
        load(tmp_path / "w.safetensors")


def test_the_command_writes_a_features_file(
    run_folder: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "features.npz"
    arguments = [
        "embed",
        str(run_folder),
        str(people),
        "--modality",
        "infrared",
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    main_and_exit(arguments, 0)
    assert "6 infrared image(s) of 2 known identities" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as file:
        assert file["embeddings"].shape == (6, 96) and file["embeddings"].dtype == np.float32
        assert file["pids"].tolist() == [9, 7, 7, 7, UNKNOWN_PID, UNKNOWN_PID]
        assert file["camids"].tolist() == [0, 1, 2, 2, 3, 0]
        assert file["frames"].tolist() == [1, 1, 1, 2, 1, 1]
        assert set(file["modality"].tolist()) == {"infrared"}
        assert file["paths"][0] == "9/x.png"


def test_half_precision_is_of_the_file_alone(run_folder: Path, people: Path, tmp_path: Path) -> None:
    model = load(run_folder, device="cpu")
    whole = embed_folder(model, people, "visible", out=tmp_path / "f.npz")
    halved = embed_folder(model, people, "visible", out=tmp_path / "h.npz", half=True)
    np.testing.assert_array_equal(halved.vectors, whole.vectors)
    with np.load(tmp_path / "h.npz", allow_pickle=False) as file:
        assert file["embeddings"].dtype == np.float16
        np.testing.assert_array_equal(file["embeddings"], whole.vectors.astype(np.float16))
    assert ivreid.read_features(tmp_path / "h.npz").vectors.dtype == np.float32


def test_the_command_names_unreadable_images(
    run_folder: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (people / "9" / "x.png").write_bytes(b"")
    (people / "loose.bmp").write_bytes(b"BM")
    out = tmp_path / "features.npz"
    main_and_exit(["embed", str(run_folder), str(people), "--modality", "visible", "--out", str(out)], 2)
    error = capsys.readouterr().err
    assert "2 image(s) cannot be read" in error and "x.png" in error and "loose.bmp" in error
    assert not out.exists()


def main_and_exit(arguments: list[str], status: int) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert (leaving.value.code or 0) == status


def test_the_network_is_a_module_that_embeds_normalised_images(run_folder: Path) -> None:
    model = load(run_folder, device="cpu")
    assert isinstance(model.network, torch.nn.Module)
    assert not model.network.training
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 24, 3), dtype=np.uint8)
    how = model.preprocessing
    inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(how.mean)[:, None, None]) / (
        torch.tensor(how.std)[:, None, None]
    )
    with torch.inference_mode():
        found = torch.nn.functional.normalize(model.network.embed(inputs, torch.tensor([True, True])))
    np.testing.assert_allclose(found.numpy(), model.embed(pixels, "infrared"), atol=1e-5)


def test_a_precision_that_the_device_lacks_is_refused(run_folder: Path) -> None:
    for precision in ("bf16", "fp16"):
        with pytest.raises(UsageError, match=f"precision {precision} needs a CUDA device"):
            load(run_folder, device="cpu", precision=precision)
    with pytest.raises(UsageError, match="precision 'int4' is none of"):
        load(run_folder, device="cpu", precision="int4")


def test_bad_images_are_skipped_where_that_is_asked_for(
    run_folder: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = embed_folder(run_folder, people, "visible", device="cpu")
    (people / "cam2/0007/a.jpg").write_bytes(b"no picture")
    (people / "loose.bmp").write_bytes(b"")
    out = tmp_path / "f.npz"
    words = [
        "embed",
        str(run_folder),
        str(people),
        "--modality",
        "visible",
        "--out",
        str(out),
        "--batch-size",
        "2",
    ]
    with pytest.raises(SystemExit) as leave:
        main(words)
    assert leave.value.code == 2 and not out.exists() and not skipped_file(out).exists()
    assert "loose.bmp" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leave:
        main([*words, "--skip-bad"])
    assert leave.value.code in (0, None)
    assert "2 could not be read and were skipped: cam2/0007/a.jpg, loose.bmp" in capsys.readouterr().err
    found = ivreid.read_features(out)
    assert found.images.paths == ("9/x.png", "cam1/0007/a.jpg", "cam2/0007/b.jpg", "cam3/y.png")
    assert found.images.frames.tolist() == [1, 1, 1, 1]  # of those that are there
    rows = [whole.images.paths.index(path) for path in found.images.paths]
    assert np.abs(found.vectors - whole.vectors[rows]).max() < 1e-5
    told = json.loads(skipped_file(out).read_text())
    assert [one["path"] for one in told] == ["cam2/0007/a.jpg", "loose.bmp"]
    assert "empty" in told[1]["reason"]
    only = tmp_path / "only"
    only.mkdir()
    (only / "a.png").write_bytes(b"x")
    with pytest.raises(ImageError, match="none of the 1 images"):
        embed_folder(run_folder, only, "visible", device="cpu", skip_bad=True)


def test_unreadable_folders_are_skipped_too(
    run_folder: Path, people: Path, tmp_path: Path, permissions_bind: None
) -> None:
    (people / "9").chmod(0)
    try:
        found = embed_folder(
            run_folder, people, "visible", device="cpu", skip_bad=True, out=tmp_path / "f.npz"
        )
        assert "9/x.png" not in found.images.paths and len(found) == 5
        assert json.loads((tmp_path / "f.skipped.json").read_text())[0]["path"] == "9"
    finally:
        (people / "9").chmod(0o755)


def test_embed_takes_colours_bytes_and_folders(run_folder: Path, people: Path) -> None:
    model = load(run_folder, device="cpu")
    folder = model.embed(people, "visible")
    assert np.array_equal(folder, embed_folder(model, people, "visible").vectors)
    file = people / "loose.bmp"
    rgb = np.asarray(Image.open(file))
    for vector in (
        model.embed(file.read_bytes(), "visible"),
        model.embed(np.ascontiguousarray(rgb[..., ::-1]), "visible", color="bgr"),
    ):
        assert np.abs(vector - model.embed(file, "visible")).max() < 1e-6
