"""The application: interface, page and operations behind the door."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from ivreid.errors import IvreidError
from ivreid.serve import api, operations, page
from ivreid.serve.door import Door
from ivreid.serve.service import Service, StoreFailed
from ivreid.serve.tokens import Tokens

VERSION = "1"
LOCAL = ("127.0.0.1", "localhost", "[::1]")
log = logging.getLogger(__name__)


def make_app(service: Service, *, tokens: Tokens | None = None, hosts: Collection[str] = LOCAL) -> FastAPI:
    """The application; it closes the service at its end.

    Args:
        service: Answers.
        tokens: Who may do what; None lets everybody do everything.
        hosts: Names by which it may be called, without ports.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    # a body is whole and within its limit before it is read: no picture goes through a file of the machine's
    MultiPartParser.spool_max_size = max(MultiPartParser.spool_max_size, service.limits.bytes)
    app = _routes(lifespan)
    app.state.service, app.state.tokens = service, tokens
    app.add_middleware(Door, service=service, tokens=tokens, hosts=hosts)
    return app


def description() -> dict[str, Any]:
    """The interface in OpenAPI, as docs/openapi.json holds it."""
    return _routes().openapi()


def _routes(lifespan: Any = None) -> FastAPI:
    app = FastAPI(
        title="ivreid",
        version=VERSION,
        description="A gallery of crops, to search people in. Nearest is not same: a person decides.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for part in (api, operations, page):
        app.include_router(part.router)
    app.add_exception_handler(IvreidError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status = 503 if isinstance(error, StoreFailed) else 422
    return JSONResponse({"error": api.service_of(request).words(error)}, status_code=status)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    told = [f"`{'.'.join(map(str, one['loc'][1:])) or 'body'}`: {one['msg']}" for one in error.errors()[:10]]
    return JSONResponse({"error": "; ".join(told)}, status_code=422)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)
