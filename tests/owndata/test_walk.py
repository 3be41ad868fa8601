"""The page about one's own pictures, followed command by command on generated pictures under odd names."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivreid.cli import main
from ivreid.protocols import read_results

PAGE = Path(__file__).parents[2] / "docs" / "own-pictures.md"
QUICK = ["--set", "epochs=1", "--set", "method.backbone=test_resnet", "--set", "method.pretrained=null"]


@pytest.fixture
def crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen people in mixed folders: cameras in names, modality in folders, sequences, a stray text."""
    rng, names = np.random.default_rng(0), random.Random(0)
    root = tmp_path / "crops"
    for pid in range(1, 17):
        colours = rng.integers(0, 256, 3)
        for camera, kind in ((1, "RGB cameras"), (2, "RGB cameras"), (3, "Thermal-IR")):
            for _ in range(2):
                folder = root / f"seq{names.randrange(1, 4)}" / kind
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(colours + rng.integers(-20, 21, (40, 20, 3)), 0, 255).astype(np.uint8)
                name = f"{pid:04d}_c{camera}s1_{names.randrange(10**6):06d}_00.jpg"
                Image.fromarray(pixels).save(folder / name)
    (root / "notes.txt").write_text("from the cameras at the gate\n")
    monkeypatch.chdir(tmp_path)
    return root


def call(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def test_the_page_leads_from_a_folder_to_a_table(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    assert block is not None
    commands = [shlex.split(line) for line in block[1].splitlines()]
    assert [words[1] for words in commands] == ["init", "data", "train", "evaluate", "report", "evaluate"]
    for program, *words in commands:
        assert program == "ivreid"
        capsys.readouterr()
        assert call(*words, *(QUICK if words[0] == "train" else [])) == 0, words
        said = capsys.readouterr()
        if words[0] == "init":
            assert "96 pictures of 16 people: 32 infrared, 64 visible; 3 cameras" in said.out
            assert "notes.txt" in said.out
    assert said.out.count("|") > 20 and "infrared-to-visible" in said.out  # a table in Markdown
    results = read_results(Path("runs/people/results.json"))
    assert [one.options["direction"] for one in results] == ["infrared-to-visible", "visible-to-infrared"]
    assert results[0].queries == 2 * round(0.3 * 16)
    assert Path("runs/people/report.html").stat().st_size > 10_000


def test_every_option_that_the_page_names_is_one() -> None:
    import inspect

    from ivreid.cli.init import run

    known = {name.replace("_", "-") for name in inspect.signature(run).parameters}
    named = set(re.findall(r"`--([a-z-]+) ?[^`]*`", PAGE.read_text()))
    assert named <= known | {"markdown"} and {"person", "infrared", "camera", "across-days"} <= named
