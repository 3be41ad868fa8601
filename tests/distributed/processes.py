"""Several processes as torchrun would start them, forked from a server that has imported everything once."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import random
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from time_limits import seconds

CAMERAS = {1: "visible", 2: "visible", 3: "infrared", 4: "visible", 5: "visible", 6: "infrared"}
SPLITS = {"train": range(1, 9), "val": range(9, 12), "test": range(12, 14)}


def write_people(root: Path) -> Path:
    """SYSU-MM01's layout: identities are two-colour stripes, infrared images grey, two per camera."""
    rng = np.random.default_rng(5)
    (root / "exp").mkdir(parents=True)
    for split, pids in SPLITS.items():
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, pids)) + "\n")
        for pid in pids:
            stripes = rng.integers(0, 256, (2, 3)).repeat(20, axis=0)[:, None]
            for camera, kind in CAMERAS.items():
                folder = root / f"cam{camera}" / f"{pid:04d}"
                folder.mkdir(parents=True)
                for frame in (1, 2):
                    pixels = stripes + rng.integers(-30, 31, (40, 20, 3))
                    if kind == "infrared":
                        pixels = pixels.mean(2, keepdims=True).repeat(3, axis=2)
                    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                    image.save(folder / f"{frame:04d}.jpg")
    everyone = ",".join(str(pid) for pids in SPLITS.values() for pid in pids)
    (root / "exp" / "available_id.txt").write_text(everyone + "\n")
    return root


def tree(data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A configuration that trains in about a second; plain SGD, which keeps small differences small."""
    return {
        "out": str(out),
        "device": "cpu",
        "epochs": 2,
        "data": {"root": str(data), "size": [32, 16], "workers": 0},
        "augment": {"padding": 2},
        "batch": {"identities": 4, "instances": 2},
        "method": {"backbone": "test_efficientnet", "pretrained": None, "name": "iv-reid"},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "sync_batchnorm": True,
        **changes,
    }


def _child(
    rank: int, world: int, port: int, said: Path | None, work: Callable[..., None], args: tuple[Any, ...]
) -> None:
    if said is not None:
        os.dup2(os.open(said / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    from ivreid.errors import IvreidError

    try:
        work(*args)
    except IvreidError as error:
        sys.stderr.write(f"[{rank}] {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_status)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def free_port() -> int:
    """A port for the processes to meet at, not of those that the system gives out by itself in the meantime."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start(
    work: Callable[..., None], *args: Any, world: int = 2, said: Path | None = None
) -> list[ForkServerProcess]:
    """Processes that each run `work(*args)`, a function of an importable module.

    What each says on stderr goes to the file `RANK.txt` in the folder `said`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ivreid.training", "torch.utils.tensorboard"])
    port = free_port()
    children = [context.Process(target=_child, args=(r, world, port, said, work, args)) for r in range(world)]
    for child in children:
        child.start()
    return children


def first_of(children: list[ForkServerProcess]) -> None:
    """Wait until one of them has ended."""
    multiprocessing.connection.wait([child.sentinel for child in children], seconds(120))


def finish(children: list[ForkServerProcess], limit: float = 120) -> list[int | None]:
    """Wait for all; exit statuses, negative where a signal ended one. What hangs is killed, its status None."""
    for child in children:
        child.join(seconds(limit))
    statuses = [child.exitcode for child in children]
    for child in children:
        if child.exitcode is None:
            child.kill()
            child.join()
    return statuses


def run_all(work: Callable[..., None], *args: Any, world: int = 2, limit: float = 120) -> None:
    """Run `work(*args)` in every process; all must succeed within `limit` seconds."""
    assert finish(start(work, *args, world=world), limit) == [0] * world


def train_run(config: dict[str, Any], resume: bool, minutes: float | None = None) -> None:
    """What `ivreid train` does."""
    from ivreid.config import make_config
    from ivreid.training import train

    train(make_config(config), resume=resume, minutes=minutes)
