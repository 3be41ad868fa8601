"""Servers for the tests: one in this process, or one started as people start it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from PIL import Image

import ivreid
from ivreid import methods
from ivreid.gallery.gallery import Gallery
from ivreid.models import write_weights
from ivreid.serve import Limits, Service, make_app
from time_limits import seconds, wait_until

NIGHT = {"modality": "infrared", "purpose": "a test"}
TIME = "2026-03-01T22:00+01:00"


def write_model(folder: Path) -> Path:
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 3)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.safetensors"
    write_weights(path, method.state_dict(), {**method.card(), "preprocessing": {"size": [32, 16]}})
    return path


def drawn(number: int, size: tuple[int, int] = (20, 40), form: str = "PNG") -> bytes:
    """A picture of its own for each number."""
    import io

    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that says any size, whatever it holds."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    body = zlib.compress(data or bytes(10))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def images(*pictures: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (f"p{n}.png", data, "image/png")) for n, data in enumerate(pictures)]


def fill(folder: Path, weights: Path, count: int = 6) -> Path:
    """A gallery of pictures 0, 1, ... at two cameras, an hour apart."""
    with Gallery.create(folder, weights, device="cpu", workers=1) as gallery:
        from datetime import UTC, datetime, timedelta

        from ivreid.gallery import NewCrop

        start = datetime(2026, 3, 1, 20, tzinfo=UTC)
        gallery.add(
            [
                NewCrop(
                    image=_image(n),
                    camera=("gate", "yard")[n % 2],
                    time=start + timedelta(hours=n),
                    modality=ivreid.Modality.VISIBLE,
                    source=f"{n}.png",
                )
                for n in range(count)
            ]
        )
    return folder


def _image(number: int) -> Image.Image:
    import io

    return Image.open(io.BytesIO(drawn(number))).convert("RGB")


@contextmanager
def running(gallery: Path | Gallery, *, limits: Limits | None = None, tokens=None, topology=None, **options):
    """A server in this process, as (client, service)."""
    opened = (
        gallery if isinstance(gallery, Gallery) else Gallery.open(gallery, device="cpu", workers=1, **options)
    )
    service = Service(opened, topology=topology, limits=limits)
    app = make_app(service, tokens=tokens)
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=address, timeout=seconds(60), trust_env=False) as client:
            yield client, service
    finally:
        server.should_exit = True
        thread.join(seconds(60))
        listening.close()
    assert not thread.is_alive()


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`ivreid serve` as a process of its own, as (process, address)."""
    command = [
        sys.executable,
        "-m",
        "ivreid",
        "serve",
        str(folder),
        "--port",
        "0",
        "--device",
        "cpu",
        *options,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    process.lines = lines  # type: ignore[attr-defined]
    try:
        wait_until(lambda: process.poll() is not None or any("http://" in line for line in lines))
        said = re.search(r"http://\S+:[0-9]+", "".join(lines))
        assert said, lines
        address = said[0]

        def answers() -> bool:
            try:
                return httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers)
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(10)
        if process.stderr:
            process.stderr.close()
