"""What the interface takes and gives, as its description (OpenAPI) says it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Why there is no answer, in one or two sentences."""

    error: str


class Interval(BaseModel):
    """Of the share of searches for somebody absent that come upon a stranger this near."""

    low: float
    high: float
    confidence: float


class Travel(BaseModel):
    """Whether there was time to come from the query's camera."""

    verdict: Literal["plausible", "too soon", "too late", "unknown"]
    seconds: float | None
    why: str


class Hit(BaseModel):
    """A crop that was found; where hits are tracklets, the nearest crop of one."""

    id: str
    picture: str = Field(description="Address of the picture on this server; random")
    distance: float = Field(description="1 - cosine")
    camera: str
    time: datetime
    modality: Literal["visible", "infrared"]
    tracklet: str | None
    source: str
    decision: Literal["likely same", "uncertain", "likely different", "not calibrated"]
    interval: Interval | None
    why: str
    travel: Travel | None = None


class Result(BaseModel):
    """The answer to one query, nearest first, ties by id."""

    query: str
    searched: int = Field(description="Crops compared with it")
    hits: list[Hit]


class Approximate(BaseModel):
    """That an index proposed the hits, and which share of the nearest it found when it was measured."""

    index: Literal["hnsw"]
    recall: float
    measured: datetime
    ef: int
    sample: int = Field(description="Crops it was measured with")
    crops: int = Field(description="Crops the gallery held then")


class SearchAnswer(BaseModel):
    """The answer to a search."""

    search: str = Field(description="Random name of this search, for verdicts; it stands in the audit")
    searched: int
    by_tracklet: bool
    approximate: Approximate | None = Field(description="null where the answer is exact")
    partial: list[str] = Field(description="Shards that did not answer: what lies there was not searched")
    results: list[Result]
    notes: list[str] = Field(description="What is to be said of the whole answer")


class Vectors(BaseModel):
    """Vectors of length 1, one a picture, in their order."""

    vectors: list[list[float]]
    fingerprint: str = Field(description="Of the model; vectors of two models cannot be compared")


class Taken(BaseModel):
    """What became of crops; what is named here is durable."""

    added: list[str]
    known: list[str]
    erased: int = Field(description="Refused, for their pixels were erased")


class Deleted(BaseModel):
    """How many crops are in no answer any more."""

    deleted: int


class Erase(BaseModel):
    """Which crops are to be erased: those that meet every condition, of which at least one is needed."""

    model_config = ConfigDict(extra="forbid")
    ids: list[str] | None = Field(None, max_length=10_000)
    cameras: list[str] | None = Field(None, max_length=1000)
    tracklets: list[str] | None = Field(None, max_length=1000)
    pids: list[int] | None = Field(None, max_length=1000)
    start: datetime | None = Field(None, alias="from")
    stop: datetime | None = Field(None, alias="to")
    purpose: str = Field("", max_length=500)


class ReceiptAnswer(BaseModel):
    """What an erasure did, and what it cannot reach."""

    id: str = Field(description="For GET /v1/receipts/ID; random")
    action: str
    crops: int
    time: datetime
    done: list[str]
    beyond: list[str]
    left: list[str]


class Verdict(BaseModel):
    """What a reviewer says of a hit."""

    model_config = ConfigDict(extra="forbid")
    search: str = Field(pattern=r"^[0-9a-f]{16}$")
    picture: str = Field(pattern=r"^/pictures/[0-9a-f]{32}$")
    verdict: Literal["same", "different", "unsure", "none"]


class Stored(BaseModel):
    """That something is kept."""

    stored: Literal[True] = True


class Cameras(BaseModel):
    """The names of all cameras, sorted."""

    cameras: list[str]


class AuditRow(BaseModel):
    """Something that was done with the gallery."""

    number: int
    time: datetime
    action: str
    purpose: str
    detail: dict[str, Any]


class Audit(BaseModel):
    """Rows of the audit, oldest first."""

    rows: list[AuditRow]
