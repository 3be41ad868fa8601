"""The page for people: a form, an answer, a review; it works without its script, too."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader

from ivreid.analysis.search_calibration import SearchCalibration
from ivreid.errors import IvreidError
from ivreid.gallery.answer import Answer
from ivreid.serve.api import contents, service_of
from ivreid.serve.asked import SearchAsked
from ivreid.serve.door import COOKIE
from ivreid.serve.embedding import Embedded
from ivreid.serve.service import StoreFailed
from ivreid.serve.tokens import Tokens

router = APIRouter(include_in_schema=False)
pages = Environment(
    loader=PackageLoader("ivreid.serve"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
ICON = "data:,"


@router.get("/")
async def start(request: Request) -> Response:
    """The form."""
    return await _page(request, SearchAsked(gallery_modality="visible", modality="infrared"))


@router.post("/search")
async def search(
    request: Request,
    purpose: Annotated[str, Form()] = "",
    images: Annotated[list[UploadFile], Form()] = [],  # noqa: B006
    crops: Annotated[list[str], Form()] = [],  # noqa: B006
    modality: Annotated[str, Form()] = "",
    gallery_modality: Annotated[str, Form()] = "",
    camera: Annotated[list[str], Form()] = [],  # noqa: B006
    start: Annotated[str, Form(alias="from")] = "",
    stop: Annotated[str, Form(alias="to")] = "",
    zone: Annotated[str, Form()] = "",
    k: Annotated[str, Form()] = "20",
    query_camera: Annotated[str, Form()] = "",
    query_time: Annotated[str, Form()] = "",
    exclude_same_camera: Annotated[bool, Form()] = False,
    travel_gate: Annotated[bool, Form()] = False,
) -> Response:
    """The form with the answer below it."""
    asked = SearchAsked(
        uploads=await contents(images),
        crops=[one for one in crops if one],
        modality=modality,
        purpose=purpose,
        gallery_modality=gallery_modality,
        cameras=[one for one in camera if one],
        start=start,
        stop=stop,
        zone=zone,
        k=int(k) if k.isdecimal() and len(k) < 9 else 0,
        fuse="best" if sum(bool(file.filename) for file in images) > 1 else "",
        query_camera=query_camera,
        query_time=query_time,
        exclude_same_camera=exclude_same_camera,
        travel_gate=travel_gate,
    )
    service = service_of(request)
    try:
        name, answer, pictures = await service.search(asked)
    except IvreidError as error:
        status = 503 if isinstance(error, StoreFailed) else 422
        return await _page(request, asked, problem=service.words(error), status=status)
    return await _page(request, asked, search=name, answer=answer, pictures=pictures)


@router.get("/pictures/{address}")
async def picture(request: Request, address: str) -> Response:
    """A kept picture by its crop's random address."""
    data = await service_of(request).picture(address)
    return Response(status_code=404) if data is None else Response(data, media_type="image/jpeg")


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """The page's style and script."""
    if name not in STATIC:
        return Response(status_code=404)
    return Response(files("ivreid.serve").joinpath("static", name).read_bytes(), media_type=STATIC[name])


@router.get("/login")
async def login_form() -> Response:
    """Where a token is asked for."""
    return HTMLResponse(pages.get_template("login.html").render(icon=ICON, problem=""))


@router.post("/login")
async def login(request: Request, token: Annotated[str, Form()] = "") -> Response:
    """Keep a token in a cookie that no script reads and no other site sends."""
    tokens: Tokens | None = request.app.state.tokens
    if tokens is not None and tokens.role(token.strip()) is None:
        page = pages.get_template("login.html").render(icon=ICON, problem="this token is not known here")
        return HTMLResponse(page, status_code=401)
    response = RedirectResponse("/", status_code=303)
    if tokens is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token.strip(), httponly=True, samesite="strict", secure=secure)
    return response


async def _page(
    request: Request,
    asked: SearchAsked,
    *,
    problem: str = "",
    search: str = "",
    answer: Answer | None = None,
    pictures: Sequence[Embedded] = (),
    status: int = 200,
) -> Response:
    service = service_of(request)
    cameras: Sequence[str] = ()
    crops: int | None = None
    try:
        cameras, crops = await service.cameras(), await service.in_store(service.gallery.count)
    except StoreFailed as error:
        problem, status = problem or service.words(error), 503
    shown: dict[str, Any] = {
        "icon": ICON,
        "asked": asked,
        "cameras": cameras,
        "crops": crops,
        "model": service.gallery.store.binding.name.partition(" from ")[0],
        "calibration": banner(service.calibration),
        "travel": service.topology is not None,
        "limits": service.limits,
        "problem": problem,
        "search": search,
        "answer": answer,
        "pictures": [base64.b64encode(one.picture).decode() for one in pictures],
    }
    return HTMLResponse(pages.get_template("page.html").render(**shown), status_code=status)


def banner(calibration: SearchCalibration | None) -> str:
    """What decisions rest on, in one or two sentences."""
    if calibration is None:
        return (
            "No calibration: distances are shown, and nothing is said about what they mean. "
            "Fit one with ivreid calibrate --fpir 0.01 --searched N."
        )
    people = sorted({table.people for table in calibration.tables.values()})
    span = f"{people[0]:,}" if len(people) == 1 else f"{people[0]:,} to {people[-1]:,}" if people else "no"
    refused = "".join(f" None for {name}: {why}." for name, why in sorted(calibration.refused.items()))
    return (
        f"Calibrated on {span} {'SYNTHETIC ' if calibration.synthetic else ''}people on {calibration.date}: at most {calibration.fpir:.2%} of searches for somebody "
        f"absent end in “likely same”.{refused}"
    )
