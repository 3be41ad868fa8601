"""For those who run the server: is it alive, may requests come, what did it do."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ivreid.serve.api import service_of
from ivreid.serve.figures import CONTENT_TYPE

router = APIRouter()


@router.get("/healthz")
async def healthz(request: Request) -> Response:
    """200 while the process can work; a supervisor starts another where it is not."""
    alive = service_of(request).ready or service_of(request).ending
    return JSONResponse({"alive": alive}, status_code=200 if alive else 503)


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """200 while requests may come: the model is loaded, the gallery answers, and the server is not ending."""
    service = service_of(request)
    ready = service.ready
    if ready:
        await service.in_store(service.gallery.has_tracklets)
    return JSONResponse({"ready": ready}, status_code=200 if ready else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Figures in Prometheus' text format; none names a crop, a person, a camera or a client."""
    return Response(service_of(request).figures.text(), media_type=CONTENT_TYPE)
