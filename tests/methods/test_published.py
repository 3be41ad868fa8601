"""Published checkpoints: the same embeddings as the network they came from, and nothing executed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ivreid import methods
from ivreid.cli.main import build_app
from ivreid.errors import CheckpointError, UsageError
from ivreid.methods.checkpoint_import import import_iv_reid
from ivreid.models import read_tensors, read_weights, write_weights

WRITER = Path(__file__).with_name("published_network.py")


def write_published(folder: Path, depth: int, norm: str, bias: bool) -> Path:
    arguments = [sys.executable, str(WRITER), str(folder), str(depth), norm, str(int(bias))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_published(tmp_path_factory.mktemp("small"), 18, "bn", bias=True)


def normalised(method: methods.Method, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    saved = np.load(folder / "wanted.npz")
    images = torch.from_numpy(saved["images"])
    with torch.no_grad():
        f = method.embed(images, torch.zeros(len(images), dtype=torch.bool))
    return torch.nn.functional.normalize(f).numpy(), saved["normalised"]


def check(method: methods.Method, folder: Path) -> None:
    found, wanted = normalised(method, folder)
    distances = np.linalg.norm(wanted[:, None] - wanted[None], axis=2)
    assert distances[np.triu_indices(len(wanted), 1)].min() > 0.02  # a network that sees something
    assert np.abs(found - wanted).max() <= 1e-5  # promised: 1e-4


@pytest.mark.parametrize("file", ["module.pth", "module-legacy.pth", "state.pth", "parallel.pth"])
def test_every_form_gives_the_published_embeddings(file, small, tmp_path):
    assert "model" not in sys.modules
    imported = import_iv_reid(small / file)
    assert "model" not in sys.modules
    check(imported.method, small)
    assert imported.card["settings"] | {"backbone": "resnet18", "norm": "bn"} == imported.card["settings"]
    assert imported.card["settings"]["stem_relu"] is False
    assert imported.card["num_classes"] == 11
    assert imported.card["preprocessing"]["size"] == [384, 128]
    assert sorted(imported.ignored) == sorted(
        n for n in read_tensors(small / file) if n.startswith("unnamed_head")
    )

    write_weights(tmp_path / "w.safetensors", imported.tensors, imported.card)
    restored, card = methods.restore(tmp_path / "w.safetensors")
    check(restored, small)
    assert card["source"]["file"] == file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "norm", "bias"), [(50, "bn", True), (50, "none", False), (34, "gn", False)]
)
def test_every_depth_and_neck(depth, norm, bias, tmp_path):
    imported = import_iv_reid(write_published(tmp_path, depth, norm, bias) / "module.pth")
    settings = imported.card["settings"]
    assert (settings["backbone"], settings["norm"]) == (f"resnet{depth}", norm)
    assert settings["classifier_bias"] is bias
    check(imported.method, tmp_path)


def test_folding_is_needed_and_the_stems_relu_left_out(small):
    """The comparison above can fail: without either, the embeddings differ."""
    imported = import_iv_reid(small / "module.pth")
    _, wanted = normalised(imported.method, small)
    state = {k: v.clone() for k, v in imported.method.state_dict().items()}
    source = read_tensors(small / "state.pth")
    imported.method.backbone.bn1.running_mean.copy_(source["base.bn1.running_mean"])
    assert np.abs(normalised(imported.method, small)[0] - wanted).max() > 1e-3
    imported.method.load_state_dict(state)
    imported.method.backbone.act1 = torch.nn.ReLU()
    assert np.abs(normalised(imported.method, small)[0] - wanted).max() > 1e-3


def changed(small: Path, path: Path, **changes) -> Path:
    state = read_tensors(small / "state.pth")
    for name, value in changes.items():
        key = name.replace("__", ".")
        state.pop(key, None)
        if value is not None:
            state[key] = value
    torch.save({k: v.clone() for k, v in state.items()}, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base__conv1__weight": None}, "not a checkpoint of IV-ReID: it lacks 'base.conv1.weight'"),
        ({"share_classifier__weight": None}, "it lacks 'share_classifier.weight'"),
        ({"base__layer1__0__conv1__weight": None}, "'backbone.layer1.0.conv1.weight' is missing"),
        ({"base__layer1__0__extra": torch.ones(2)}, "'backbone.layer1.0.extra' is unknown"),
        (
            {"base__layer1__7__extra": torch.ones(2)},
            r"\(3, 2, 2, 2\) basic blocks, which is none of resnet18",
        ),
        (
            {"base__layer1__0__conv2__weight": torch.ones(64, 64, 1, 1)},
            r"shape \(64, 64, 1, 1\), expected \(64, 64, 3, 3\)",
        ),
        ({"base__layer1__0__bn2__running_mean": None}, "'base.layer1.0.bn2.running_mean'"),
        ({"base__bn1__weight": torch.full((64,), torch.nan)}, "NaN or infinite values in 'base.bn1.weight'"),
    ],
)
def test_files_that_do_not_fit_say_why(changes, message, small, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        import_iv_reid(changed(small, tmp_path / "w.pth", **changes))


def test_leftovers_and_missing_counters_are_no_obstacle(small, tmp_path):
    state = {k: v for k, v in read_tensors(small / "state.pth").items() if "num_batches" not in k}
    state["base.fc.weight"] = torch.ones(1000, 512)
    torch.save(state, tmp_path / "w.pth")
    imported = import_iv_reid(tmp_path / "w.pth")
    assert "base.fc.weight" in imported.ignored
    check(imported.method, small)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def run(*arguments: object):
    return CliRunner().invoke(build_app("import"), ["import", *map(str, arguments)])


def test_the_command_converts_and_says_what_it_found(small, tmp_path):
    out = tmp_path / "w.safetensors"
    done = run(small / "module.pth", "--from", "iv-reid", "--out", out)
    assert done.exit_code == 0, done.output
    for part in ("resnet18", "bn", "512", "11 in training", "9 ignored: unnamed_head.0", "384x128"):
        assert part in done.output, part
    check(methods.restore(out)[0], small)
    assert read_weights(out)[1]["preprocessing"]["size"] == [384, 128]
    run(small / "module.pth", "--out", out, "--size", "256x128", "--last-stride", 2)
    card = read_weights(out)[1]
    assert card["preprocessing"]["size"] == [256, 128]
    assert card["settings"]["last_stride"] == 2


def test_the_command_refuses_what_would_run(tmp_path):
    marker, path, out = tmp_path / "marker", tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save({"base.conv1.weight": Evil(marker)}, path)
    done = run(path, "--from", "iv-reid", "--out", out)
    assert isinstance(done.exception, CheckpointError)
    assert "would call os.system" in str(done.exception)
    assert not marker.exists()
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "iv-read"], "did you mean iv-reid"),
        (["--size", "large"], "height x width"),
    ],
)
def test_the_command_refuses_wrong_options(options, message, small, tmp_path):
    done = run(small / "state.pth", "--out", tmp_path / "w.safetensors", *options)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_the_output_must_be_another_safetensors_file(small, tmp_path):
    assert "written as .safetensors" in str(run(small / "state.pth", "--out", tmp_path / "w.pth").exception)
    same = tmp_path / "w.safetensors"
    same.write_bytes(b"x")
    assert "is the checkpoint itself" in str(run(same, "--out", same).exception)
