"""What produced a run: versions, revision, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """Versions of everything that can move a figure."""
    found = {"python": platform.python_version()}
    for package in ("ivreid", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_revision(file: Path = Path(__file__)) -> str | None:
    """The revision of this source, with `+` where files differ from it.

    Args:
        file: This file; it lies in `src/ivreid/training/` of a checkout.

    Returns:
        None outside a checkout of ivreid: an installed package may lie below some other repository.
    """
    file = file.resolve()
    ours = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=file.parent, capture_output=True, text=True, timeout=10, check=True, env=ours
        ).stdout

    try:
        if not Path(git("rev-parse", "--show-toplevel").strip()).samefile(file.parents[3]):
            return None
        git("ls-files", "--error-unmatch", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no", str(file.parents[1]))
        return git("rev-parse", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe_environment(device: str, threads: int) -> dict[str, Any]:
    """What `environment.json` says about the machine and the code."""
    return {
        "versions": versions(),
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": threads,
        "device": device,
    }
