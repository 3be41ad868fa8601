"""Weights by address, from an endpoint that answers as the hub does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ivreid import methods
from ivreid.errors import UsageError
from ivreid.inference.addresses import fetch, is_address
from ivreid.models import write_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    method = methods.build("iv-reid", {"backbone": "test_resnet", "pretrained": None}, 2, size=(64, 32))
    path = tmp_path_factory.mktemp("w") / "weights.safetensors"
    tensors = {k: v for k, v in method.state_dict().items() if not k.startswith(method.training_only)}
    write_weights(path, tensors, {**method.card(), "preprocessing": {"size": [64, 32]}})
    return path


@pytest.fixture
def endpoint(weights: Path) -> Iterator[str]:
    data = weights.read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def _head(self) -> bool:
            known = {
                f"/org/name/resolve/{revision}/weights.safetensors" for revision in ("main", "v1", COMMIT)
            }
            if self.path.split("?")[0] not in known:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            return True

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            if self._head():
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def in_child(code: str, tmp_path: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    """The hub's settings are read when its library is imported, so each case has a process of its own."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": "5",
    }
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HF_HUB_OFFLINE"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


LOAD = """
import json, numpy as np, ivreid
for revision in {revisions}:
    model = ivreid.load("hf://org/name" + revision, device="cpu")
    vectors = model.embed(np.zeros((1, 80, 40, 3), np.uint8), "visible")
    print(json.dumps([model.address, list(vectors.shape), model.fingerprint]))
"""

REFUSED = """
import time, ivreid
time.sleep = lambda seconds: None  # the hub's library waits between its tries
try:
    ivreid.load("hf://org/{name}", device="cpu")
except ivreid.IvreidError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_weights_come_by_address_with_their_commit_and_no_page_is_one_sentence(
    endpoint: str, weights: Path, tmp_path: Path
) -> None:
    from ivreid.inference import load

    revisions = ["", "@v1", f"@{COMMIT}"]
    done = in_child(LOAD.format(revisions=revisions) + REFUSED.format(name="other"), tmp_path, endpoint)
    assert done.returncode == 0, done.stderr
    *loaded, absent = done.stdout.splitlines()
    for line in loaded:
        address, shape, fingerprint = json.loads(line)
        assert address == f"hf://org/name@{COMMIT}"
        assert shape == [1, 96]
        assert fingerprint == load(weights, device="cpu").fingerprint
    assert len(loaded) == len(revisions)
    assert absent.startswith("UsageError hf://org/other cannot be fetched"), done.stderr


@pytest.mark.slow
def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    silent = in_child(REFUSED.format(name="name"), tmp_path / "n", "http://127.0.0.1:9")
    assert silent.stdout.startswith("UsageError hf://org/name cannot be fetched"), (
        silent.stdout + silent.stderr
    )
    assert len(silent.stdout.splitlines()) == 1


@pytest.mark.parametrize("text", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b@", "hf://a/b@x y", "hf:///b"])
def test_what_is_no_address_is_refused_before_any_request(text: str) -> None:
    assert is_address(text)
    with pytest.raises(UsageError, match="must read hf://ORG/NAME"):
        fetch(text)


def test_a_path_is_no_address() -> None:
    assert not is_address(Path("hf://org/name"))
    assert not is_address("runs/demo")
