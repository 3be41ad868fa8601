"""A gallery served until a signal ends it."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Collection
from types import FrameType

import uvicorn

from ivreid.errors import UsageError
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.topology import Topology
from ivreid.serve.app import LOCAL, make_app
from ivreid.serve.limits import Limits
from ivreid.serve.service import Service
from ivreid.serve.tokens import Tokens
from ivreid.types import Notice

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Says that it is ending as soon as a signal comes, so that nothing new is begun."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.ending = True
        super().handle_exit(sig, frame)


def serve(
    gallery: Gallery,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tokens: Tokens | None = None,
    hosts: Collection[str] = (),
    topology: Topology | None = None,
    limits: Limits | None = None,
    notice: Notice = log.info,
) -> None:
    """Serve a gallery until SIGTERM or Ctrl-C; requests at work are finished, the gallery closes last.

    Args:
        gallery: Open; it is closed at the end.
        host: The address to listen at; another than this machine's own needs tokens.
        port: 0 takes a free one.
        tokens: Who may do what.
        hosts: More names by which the server may be called.
        topology: Travel times between the gallery's cameras.
        limits: Of requests.
        notice: Told where the page is.

    Raises:
        UsageError: An address that cannot be listened at, or one for others without tokens.
        CheckpointError: The gallery's model cannot be used.
    """
    limits = limits or Limits()
    if tokens is None and not _is_local(host):
        raise UsageError(
            f"{host} can be reached from other machines: say who may do what (--token-file FILE), or listen at "
            "127.0.0.1"
        )
    listening = _listening(host, port)
    try:
        service = Service(gallery, topology=topology, limits=limits)
        named = f"[{host}]" if ":" in host else host
        app = make_app(service, tokens=tokens, hosts={*LOCAL, named, *hosts})
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=max(1, round(limits.drain)),
            ws="none",
        )
        notice(f"http://{named}:{listening.getsockname()[1]}/")
        _Server(config, service).run(sockets=[listening])
        service.close()
    finally:
        listening.close()


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; choose another --port"
        ) from error
