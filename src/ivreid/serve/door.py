"""What every request passes before anything reads it: host, origin, role, room at work, size, time."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ivreid.serve.limits import Limits
from ivreid.serve.service import Service
from ivreid.serve.tokens import ADMIN, INGEST, SEARCH, Tokens, may

COOKIE = "ivreid"
OPEN = "open"
DISCARDING = 2.0
"""Seconds that a refused request may go on being sent."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, browsers hide the origin of our own forms
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
ROLES = {
    "/": SEARCH,
    "/search": SEARCH,
    "/login": OPEN,
    "/healthz": OPEN,
    "/readyz": OPEN,
    "/metrics": SEARCH,
    "/v1/openapi.json": OPEN,
    "/v1/search": SEARCH,
    "/v1/embed": SEARCH,
    "/v1/verdicts": SEARCH,
    "/v1/cameras": SEARCH,
    "/v1/crops": INGEST,
}
"""What each address needs; what is not here or below needs an admin."""
FOLDERS = {"/static/": OPEN, "/pictures/": SEARCH}
log = logging.getLogger("ivreid.serve.access")


class Refused(Exception):
    """A request that goes no further.

    Args:
        status: Of the answer.
        why: One sentence.
        headers: Beside those that every answer has.
        read: Whether its body was read, as far as it is.
    """

    def __init__(
        self, status: int, why: str, headers: dict[str, str] | None = None, *, read: bool = False
    ) -> None:
        super().__init__(why)
        self.status, self.headers, self.read = status, headers or {}, read


@dataclass
class _Told:
    """What became of a request."""

    status: int = 0

    @property
    def begun(self) -> bool:
        return self.status != 0


class Door:
    """ASGI middleware.

    Args:
        app: What stands behind.
        service: Knows the limits and whether the server is ending.
        tokens: None lets everybody do everything, for a server that only this machine reaches.
        hosts: Names by which the server may be called (against DNS rebinding), without ports.
    """

    def __init__(
        self, app: ASGIApp, *, service: Service, tokens: Tokens | None, hosts: Collection[str]
    ) -> None:
        self._app, self._service, self._tokens = app, service, tokens
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limits: Limits = service.limits
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1000})
            return
        begin, told = time.monotonic(), _Told()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            await self._admitted(scope, receive, sending, told)
        except Refused as refused:
            if not told.begun:
                if not refused.read:
                    await self._discard(receive)
                await _answer(sending, refused)
        finally:
            self._count(scope, told, time.monotonic() - begin)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send, told: _Told) -> None:
        headers = Headers(scope=scope)
        self._check_caller(headers)
        self._check_role(scope, headers)
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._in_time(scope, receive, send, told)
            return
        if self._service.ending:
            raise Refused(503, "this server is ending", {"Retry-After": "5", "Connection": "close"})
        if self._at_work >= self._limits.waiting:
            raise Refused(429, "too many requests are at work; come again", {"Retry-After": "1"})
        self._at_work += 1
        self._service.figures.at_work.set(self._at_work)
        try:
            body = await self._body(headers, receive)
            await self._in_time(scope, _again(body, receive), send, told)
        finally:
            self._at_work -= 1
            self._service.figures.at_work.set(self._at_work)

    def _check_caller(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            raise Refused(421, "this server is not called so; start it with --allow-host NAME")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "a page of another site may not use this server")

    def _check_role(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        needed = ROLES.get(path) or next((r for f, r in FOLDERS.items() if path.startswith(f)), ADMIN)
        if needed == OPEN or self._tokens is None:
            return
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if kind.lower() == "bearer" else ""
        given = given or cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        role = self._tokens.role(given) if given else None
        if role is None:
            if path in ("/", "/search"):
                raise Refused(303, "a token is needed", {"Location": "/login"})
            raise Refused(
                401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )
        if not may(role, needed):
            raise Refused(403, f"this needs the role {needed}, the token has {role}")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body, within its limits."""
        most = self._limits.bytes
        why, closing = f"a request may have {most:,} bytes", {"Connection": "close"}
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise Refused(413, why, closing)
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.sending):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the client is gone", read=True)
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise Refused(413, why, closing, read=True)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise Refused(408, "the request came too slowly", closing, read=True) from error

    async def _discard(self, receive: Receive) -> None:
        """Let a refused client finish sending, within bounds: one that is cut off never sees why."""
        left = self._limits.bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(min(DISCARDING, self._limits.sending)):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return

    async def _in_time(self, scope: Scope, receive: Receive, send: Send, told: _Told) -> None:
        limit = asyncio.timeout(self._limits.deadline)
        try:
            async with limit:
                await self._app(scope, receive, send)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Refused(
                504, f"no answer within {self._limits.deadline:g} s", {"Retry-After": "1"}
            ) from error

    def _count(self, scope: Scope, told: _Told, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD") else "other"
        figures = self._service.figures
        figures.requests.labels(method, route, str(told.status)).inc()
        figures.seconds.labels(route).observe(seconds)
        line = {"method": method, "route": route, "status": told.status, "ms": round(1000 * seconds, 1)}
        log.info("%s", json.dumps(line))


def _name(host: str) -> str:
    """A host's name without its port."""
    end = host.find("]") + 1 if host.startswith("[") else host.rfind(":")
    return (host[:end] if end > 0 else host).lower()


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for those who read it next."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
