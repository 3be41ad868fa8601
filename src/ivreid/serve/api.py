"""The interface for programs, version 1."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path, Query, Request, UploadFile

from ivreid.gallery import Answer, Where
from ivreid.serve import schemas
from ivreid.serve.asked import CropsAsked, SearchAsked
from ivreid.serve.service import Service

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": why}
    for status, why in {
        401: "A token is needed",
        403: "The token's role does not suffice, or a page of another site asks",
        408: "The body came too slowly",
        413: "The body is too large",
        422: "What is asked cannot be; the message says which field",
        429: "Too many requests are at work; Retry-After says when to come again",
        503: "The gallery cannot be used at the moment, or the server is ending",
        504: "No answer within the deadline",
    }.items()
}
router = APIRouter(prefix="/v1", responses=PROBLEMS)
CropId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
ReceiptId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="As an erasure gave it")]


def service_of(request: Request) -> Service:
    """The service that answers."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


async def contents(files: list[UploadFile]) -> list[tuple[str, bytes]]:
    """Names and contents of the files that were sent; a field left empty is none."""
    return [(file.filename or "", await file.read()) for file in files if file.filename or file.size]


def some(names: list[str] | None) -> frozenset[str] | None:
    """Names as a filter takes them."""
    return None if names is None else frozenset(names)


def answer_json(search: str, answer: Answer) -> dict[str, Any]:
    """An answer as the interface gives it."""
    results = [
        {
            "query": one.query,
            "searched": one.searched,
            "hits": [
                {
                    **hit.to_json(),
                    "picture": f"/pictures/{hit.crop.address}",
                    "tracklet": hit.crop.tracklet,
                }
                for hit in one.hits
            ],
        }
        for one in answer.results
    ]
    return {
        "search": search,
        "searched": answer.searched,
        "by_tracklet": answer.by_tracklet,
        "approximate": None if answer.approximate is None else answer.approximate.to_json(),
        "partial": list(answer.partial),
        "results": results,
        "notes": list(answer.notes),
    }


@router.post("/search", response_model=schemas.SearchAnswer)
async def search(
    request: Request,
    purpose: Annotated[str, Form(description="Why; the audit keeps it")],
    images: Annotated[list[UploadFile], Form(description="Pictures of the person: JPEG, PNG or WebP")] = [],  # noqa: B006
    crops: Annotated[list[str], Form(description="Ids of crops in the gallery, to search with")] = [],  # noqa: B006
    modality: Annotated[str, Form(description="Of the pictures: visible or infrared")] = "",
    gallery_modality: Annotated[str, Form(description="Only crops of this modality")] = "",
    camera: Annotated[list[str], Form(description="Only crops of these cameras")] = [],  # noqa: B006
    start: Annotated[str, Form(alias="from", description="Only crops from this time on")] = "",
    stop: Annotated[str, Form(alias="to", description="Only crops before this time")] = "",
    zone: Annotated[str, Form(description="Of times that name none: Europe/Berlin, UTC, +02:00")] = "",
    k: Annotated[int, Form(description="Hits a query")] = 10,
    fuse: Annotated[str, Form(description="All pictures show one person: mean or best")] = "",
    by: Annotated[str, Form(description="What a hit is: crop or tracklet")] = "",
    query_camera: Annotated[str, Form(description="The pictures' camera")] = "",
    query_time: Annotated[str, Form(description="When they were taken, for travel times")] = "",
    exclude_same_camera: Annotated[bool, Form(description="Leave out the query's own camera")] = False,
    travel_gate: Annotated[bool, Form(description="Leave out hits that travel times exclude")] = False,
) -> Any:
    """Find the people of some pictures. Nearest is not same: a person decides."""
    asked = SearchAsked(
        uploads=await contents(images),
        crops=crops,
        modality=modality,
        purpose=purpose,
        gallery_modality=gallery_modality,
        cameras=[one for one in camera if one],
        start=start,
        stop=stop,
        zone=zone,
        k=k,
        fuse=fuse,
        by=by,
        query_camera=query_camera,
        query_time=query_time,
        exclude_same_camera=exclude_same_camera,
        travel_gate=travel_gate,
    )
    name, answer, _ = await service_of(request).search(asked)
    return answer_json(name, answer)


@router.post("/embed", response_model=schemas.Vectors)
async def embed(
    request: Request,
    images: Annotated[list[UploadFile], Form(description="Pictures: JPEG, PNG or WebP")],
    modality: Annotated[str, Form(description="Of the pictures: visible or infrared")],
) -> Any:
    """The vectors of pictures; nothing is kept."""
    service = service_of(request)
    found = await service.embed(await contents(images), modality)
    return {
        "vectors": [one.vector.tolist() for one in found],
        "fingerprint": service.gallery.store.binding.fingerprint,
    }


@router.post("/crops", response_model=schemas.Taken)
async def add_crops(
    request: Request,
    images: Annotated[list[UploadFile], Form(description="Pictures: JPEG, PNG or WebP")],
    camera: Annotated[str, Form(description="The camera's name")],
    time: Annotated[list[str], Form(description="When they were taken: one for all, or one each")],
    modality: Annotated[str, Form(description="Visible or infrared")],
    zone: Annotated[str, Form(description="Of times that name none")] = "",
    tracklet: Annotated[str, Form(description="The track they belong to")] = "",
    pid: Annotated[int | None, Form(description="The person, where known")] = None,
    quality: Annotated[float | None, Form(description="0 (useless) to 1")] = None,
) -> Any:
    """Take in crops. What is answered is durable; sending the same again adds nothing."""
    return await service_of(request).add(
        CropsAsked(
            uploads=await contents(images),
            camera=camera,
            modality=modality,
            times=time,
            zone=zone,
            tracklet=tracklet,
            pid=pid,
            quality=quality,
        )
    )


@router.delete("/crops/{crop}", response_model=schemas.Deleted, responses={404: {"model": schemas.Problem}})
async def delete_crop(request: Request, crop: CropId) -> Any:
    """Take a crop out of every answer; it may be added again."""
    if not (deleted := await service_of(request).delete(crop)):
        raise HTTPException(404, "there is no such crop")
    return {"deleted": deleted}


@router.post("/erase", response_model=schemas.ReceiptAnswer)
async def erase(request: Request, what: schemas.Erase) -> Any:
    """Remove crops from every file of the gallery; their pixels are refused ever after."""
    where = Where(
        ids=some(what.ids),
        cameras=some(what.cameras),
        tracklets=some(what.tracklets),
        pids=None if what.pids is None else frozenset(what.pids),
        start=what.start,
        stop=what.stop,
    )
    return (await service_of(request).erase(where, what.purpose)).to_json()


@router.get(
    "/receipts/{receipt}", response_model=schemas.ReceiptAnswer, responses={404: {"model": schemas.Problem}}
)
async def receipt(request: Request, receipt: ReceiptId) -> Any:
    """What an erasure did and what it could not reach, as it said then; also of those made by `ivreid gallery`."""
    if (found := await service_of(request).receipt(receipt)) is None:
        raise HTTPException(404, "there is no such receipt")
    return found


@router.post("/verdicts", response_model=schemas.Stored)
async def verdict(request: Request, said: schemas.Verdict) -> Any:
    """Keep what a reviewer says of a hit; the last word on a hit counts, "none" takes it back."""
    address = said.picture.rpartition("/")[2]
    await service_of(request).judge(said.search, address, said.verdict)
    return {"stored": True}


@router.get("/cameras", response_model=schemas.Cameras)
async def cameras(request: Request) -> Any:
    """The names of all cameras."""
    return {"cameras": await service_of(request).cameras()}


@router.get("/audit", response_model=schemas.Audit)
async def audit(request: Request, last: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Any:
    """The last rows of the audit: searches with their purposes, verdicts, and what was added and removed."""
    names = ("number", "time", "action", "purpose", "detail")
    rows = await service_of(request).audit(last)
    return {"rows": [{name: getattr(row, name) for name in names} for row in rows]}
