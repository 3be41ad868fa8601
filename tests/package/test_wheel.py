"""A wheel, built from the sources and installed into an environment of its own, away from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "configs", "src/ivreid")
pytestmark = pytest.mark.slow


def lacks() -> str:
    """What this environment lacks to build a wheel without a network, or nothing."""
    try:
        major = int(version("setuptools").partition(".")[0])
        version("pip")
    except PackageNotFoundError as error:
        return f"{error.name} is not installed"
    return f"setuptools {major} is older than the build needs" if major < 77 else ""


def call(*words: object, cwd: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory):
    """Commands of an environment that holds the wheel, and finds the libraries of this one behind it."""
    if missing := lacks():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:  # a copy: a build leaves files beside its sources
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / "source" / name)
    pip = (sys.executable, "-m", "pip", "-q")
    offline = ("--no-deps", "--no-build-isolation")
    call(*pip, "wheel", *offline, "-w", folder, folder / "source", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    shutil.rmtree(folder / "source")
    call(*pip, "--python", folder / "env", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "libraries.pth").write_text(
        "\n".join(libraries)
    )  # plain lines: no editable install among them
    return folder / "env" / "bin"


def test_it_is_the_installed_package_that_runs(bin_folder, tmp_path):
    where = call(bin_folder / "python", "-c", "import ivreid; print(ivreid.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(bin_folder.parent)
    assert call(bin_folder / "ivreid", "--version", cwd=tmp_path).strip() == f"ivreid {version('ivreid')}"


def test_it_holds_the_configurations(bin_folder, tmp_path):
    code = "from ivreid.config import packaged_names, packaged_text as text; print(*map(text, packaged_names()), sep='')"
    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert (
        call(bin_folder / "python", "-c", code, cwd=tmp_path)
        == "".join(path.read_text(encoding="utf-8") for path in files) + "\n"
    )


def test_the_whole_story_runs(bin_folder, tmp_path):
    small = (
        "epochs=1",
        "method.backbone=test_resnet",
        "data.size=[32,16]",
        "data.synthetic={identities: 16, images: 3, size: [32, 16]}",
        "data.root=people",
        "batch={identities: 3, instances: 2}",
        "evaluation=[{draw: agw}]",
    )
    words = [word for one in small for word in ("--set", one)]
    call(bin_folder / "ivreid", "demo", "--out", "run", *words, cwd=tmp_path)
    assert "<style>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert call(bin_folder / "ivreid", "evaluate", "run", "--draw", "agw", cwd=tmp_path)
