"""Every example runs as it stands, and is short."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ivreid
from ivreid import methods
from ivreid.cli.main import build_app
from ivreid.models import write_weights
from ivreid.testing import check_dataset, check_method

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")])


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_under_a_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100


def test_the_examples_are_those_the_documentation_names() -> None:
    page = (EXAMPLES.parent / "docs" / "own-loop.md").read_text(encoding="utf-8")
    assert all(path.name in page for path in FILES)


def test_the_method_keeps_the_contract() -> None:
    with methods.METHODS.holding(_class("own_method", "ModalityCentres")):
        check_method(methods.get_method("modality-centres"))


def test_the_dataset_keeps_the_contract() -> None:
    check_dataset(_class("own_dataset", "NightAndDay"))


def _class(module: str, name: str) -> type:
    from ivreid.catalogue import DATASETS, METHODS

    kept = METHODS.snapshot(), DATASETS.snapshot()
    found: type = getattr(load(module), name)
    METHODS.restore(kept[0])
    DATASETS.restore(kept[1])
    return found


def test_the_dataset_is_a_plugin_of_the_command_line(tmp_path: Path) -> None:
    root = _class("own_dataset", "NightAndDay")().example(tmp_path / "d")
    plugin = ["--plugin", str(EXAMPLES / "own_dataset.py")]
    done = CliRunner().invoke(build_app("data"), ["data", "check", "night-and-day", str(root), *plugin])
    assert done.exit_code == 0, done.output
    (root / "day" / "x.png").write_bytes((root / "day" / "1_1_a.png").read_bytes())
    done = CliRunner().invoke(build_app("data"), ["data", "check", "night-and-day", str(root), *plugin])
    assert "PID_CAMERA_anything.png" in str(done.output) + str(done.exception)


@pytest.mark.slow
def test_the_loop_learns_something_and_is_scored() -> None:
    result = load("own_loop").main(epochs=1)
    assert result.protocol == "regdb"
    assert 0 < result.mean["rank1"] <= 1


def test_the_search_finds_the_same_picture_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 2, size=(64, 32))
    write_weights(
        tmp_path / "w.safetensors",
        method.state_dict(),
        {**method.card(), "preprocessing": {"size": [64, 32]}},
    )
    rng = np.random.default_rng(0)
    files = []
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    found = load("search_own_pictures").main(str(tmp_path / "w.safetensors"), files[2], files, k=3)
    assert found[0][1] == files[2]
    assert found[0][0] == pytest.approx(0, abs=1e-6)
    assert capsys.readouterr().out.count("\n") == 4


def test_the_notebook_runs_cell_by_cell(capsys: pytest.CaptureFixture[str]) -> None:
    for path in EXAMPLES.glob("*.ipynb"):
        names: dict[str, object] = {}
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), path.name, "exec"), names)
        assert isinstance(names["result"], ivreid.Result)
    assert "SYSU-MM01" in capsys.readouterr().out
