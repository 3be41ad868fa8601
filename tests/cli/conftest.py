"""A tiny dataset and a tiny trained run, each made once a test process by the commands themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from ivreid.cli import main

TINY = """
epochs: 2
data: {dataset: sysu-mm01, root: ROOT, size: [32, 16]}
augment: {padding: 2}
batch: {identities: 3, instances: 2}
method: {name: iv-reid, backbone: test_resnet, pretrained: null}
validation: {every: 1}
"""


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def ivreid(capsys):
    """Runs the command line in this process: status, stdout, stderr."""

    def call(*words) -> Outcome:
        capsys.readouterr()
        status = run(*words)
        return Outcome(status, *capsys.readouterr())

    return call


def run(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tiny") / "sysu"
    assert (
        run("synth", root, "--identities", 16, "--images", 4, "--size", "32x16", "--seed", 3, "--workers", 1)
        == 0
    )
    return root


@pytest.fixture(scope="session")
def tiny_config(tiny_data) -> Path:
    path = tiny_data.parent / "tiny.yaml"
    path.write_text(TINY.replace("ROOT", str(tiny_data)))
    return path


@pytest.fixture(scope="session")
def _trained_once(tiny_config) -> Path:
    folder = tiny_config.parent / "run"
    assert run("train", tiny_config, "--out", folder) == 0
    return folder


@pytest.fixture
def tiny_run(_trained_once, tmp_path_factory) -> Path:
    """A copy of its own for each test, which may write into it."""
    return shutil.copytree(_trained_once, tmp_path_factory.mktemp("tiny") / "run")
