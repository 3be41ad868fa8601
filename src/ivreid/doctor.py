"""What this machine offers, and what would make training faster there."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ivreid", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "optuna")
LOW_DISK_GB = 10
LOW_MEMORY_GB = 8


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        what: The part of the machine, e.g. "memory".
        value: What was found.
        advice: What would help; empty where nothing needs doing.
    """

    what: str
    value: str
    advice: str = ""


def examine_machine(folder: Path | str | None = None) -> list[Finding]:
    """Devices, versions, memory, disk and threads, each with advice where something would be faster.

    Args:
        folder: Where the disk is looked at; the working folder unless given.
    """
    return [
        _system(),
        *_packages(),
        *_cpu(),
        _memory(),
        _disk(Path(folder or Path.cwd())),
        *_devices(),
        _shared_memory(),
    ]


def _system() -> Finding:
    return Finding("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")


def _packages() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    advice = (
        ""
        if "optuna absent" not in found
        else "`pip install 'ivreid[tune]'` adds Optuna, which `ivreid tune` needs."
    )
    return [Finding("packages", ", ".join(found), advice)]


def _cpu() -> list[Finding]:
    import torch

    from ivreid.machine import available_cores

    usable = available_cores()
    threads = torch.get_num_threads()
    advice = ""
    if threads < usable and not torch.cuda.is_available():
        limit = os.environ.get("OMP_NUM_THREADS")
        cause = (
            f"OMP_NUM_THREADS={limit} holds it there; unset it" if limit else f"set OMP_NUM_THREADS={usable}"
        )
        advice = f"torch computes on {threads} of {usable} usable cores: {cause}."
    capability = torch.backends.cpu.get_cpu_capability()
    return [
        Finding(
            "processor", f"{usable} usable cores, torch uses {threads} threads, {capability} kernels", advice
        )
    ]


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    free, total = memory.available / 1e9, memory.total / 1e9
    advice = "a smaller `batch.identities` needs less memory." if free < LOW_MEMORY_GB else ""
    return Finding("memory", f"{free:.1f} of {total:.1f} GB free", advice)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    advice = ""
    if free < LOW_DISK_GB:
        advice = (
            "checkpoints and the image cache need room: a ResNet-50 state takes about 0.4 GB, "
            "SYSU-MM01 decoded at 384x128 about 5 GB (`--set data.cache=false` goes without)."
        )
    return Finding("disk", f"{free:.1f} GB free under {folder}", advice)


def _devices() -> list[Finding]:
    import torch

    if torch.cuda.is_available():
        found = []
        for index in range(torch.cuda.device_count()):
            props = torch.cuda.get_device_properties(index)
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            kinds = "bf16 and fp16" if bf16 else "fp16 (no bf16)"
            advice = (
                "" if bf16 else "`--set precision=fp16` uses its matrix units; it lacks bf16, the default."
            )
            found.append(
                Finding(f"cuda:{index}", f"{props.name}, {props.total_memory / 1e9:.0f} GB, {kinds}", advice)
            )
        return found
    if torch.backends.mps.is_available():
        return [
            Finding(
                "device",
                "mps (Apple)",
                "`--set device=mps` uses it; training on it is not bitwise repeatable.",
            )
        ]
    return [Finding("device", "cpu only", _cpu_advice())]


def _cpu_advice() -> str:
    return (
        "a full ResNet-50 at 384x128 trains at a few images a second here; a compact backbone and a "
        "smaller size (`ivreid train demo`) train in minutes. Scoring, searching and reports need no GPU."
    )


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    if not (sys.platform == "linux" and folder.is_dir()):
        return Finding("shared memory", "not limited by a mount")
    free = shutil.disk_usage(folder).free / 1e9
    advice = "data workers pass batches through it; in a container raise `--shm-size`." if free < 1 else ""
    return Finding("shared memory", f"{free:.1f} GB free", advice)
