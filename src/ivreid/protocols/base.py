"""What every protocol answers: who queries, who is gallery, which pairs are forbidden, which CMC rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from ivreid.catalogue import check_functions, check_name
from ivreid.errors import ProtocolError, UsageError
from ivreid.metrics import CMC_RULES, CmcRule
from ivreid.types import NO_CAMERA, ImageTable, IntArray

DIRECTIONS = ("infrared-to-visible", "visible-to-infrared")
"""Always named query-first."""


class HasIds(Interface):
    """Anything with one pid and one camid per image, such as an `ImageTable`."""

    @property
    def pids(self) -> IntArray:
        """(N,) identity numbers."""

    @property
    def camids(self) -> IntArray:
        """(N,) camera numbers."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One list of queries and one gallery, as rows of the image table the protocol was given.

    Attributes:
        query: (Q,) int64 rows of known people, in the order of (pid, camid, frame).
        gallery: (G,) int64 rows in the same order, which is also the order of equal distances.
    """

    query: IntArray
    gallery: IntArray

    def __post_init__(self) -> None:
        for name in ("query", "gallery"):
            rows = np.array(getattr(self, name), dtype=np.int64)
            rows.setflags(write=False)
            object.__setattr__(self, name, rows)


@dataclass(frozen=True)
class Protocol(ABC):
    """An evaluation protocol with all its options decided. Each option is a field of the class.

    Class attributes:
        name: Registry name.
        version: Raised whenever a change of ours could move a figure.
        choices: The values that each option takes, besides the CMC rule.
        default_cmc: The CMC rule where none is asked for.
        indoor_cameras: Cameras indoors, where it is known where cameras stand; the others stand outdoors.
        selection: The options under which `validation.select: published-test` chooses weights.

    Attributes:
        cmc: The CMC rule.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 2
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    default_cmc: ClassVar[CmcRule] = "image"
    indoor_cameras: ClassVar[frozenset[int]] = frozenset()
    selection: ClassVar[Mapping[str, Any]] = {}

    cmc: CmcRule

    @property
    @abstractmethod
    def title(self) -> str:
        """The setting's full name for people: every variant in use."""

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """Every option that moves a figure."""

    @abstractmethod
    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """Queries and gallery of each trial.

        Raises:
            ProtocolError: The images do not fit the protocol.
        """

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """(Q, G) True for pairs the camera rule forbids, or None where it forbids none of these."""
        return None

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """What a reader must know to read the figures rightly."""
        return ()


def canonical_order(images: ImageTable) -> IntArray:
    """(N,) rows sorted by (pid, camid, frame, modality), so that no figure depends on the order of a file."""
    return np.lexsort((images.infrared, images.frames, images.camids, images.pids)).astype(
        np.int64, copy=False
    )


def images_by_group(images: ImageTable, rows: IntArray) -> dict[tuple[int, int], IntArray]:
    """The rows of each (pid, camid), in ascending order of both, frames ascending.

    Args:
        images: All images.
        rows: (M,) rows of known people in canonical order.

    Raises:
        ProtocolError: Frames that are not 1, 2, ..., n, from which no published draw can be repeated.
    """
    pids, camids, frames = images.pids[rows], images.camids[rows], images.frames[rows]
    starts = (
        np.flatnonzero(np.r_[True, (pids[1:] != pids[:-1]) | (camids[1:] != camids[:-1])])
        if len(rows)
        else rows
    )
    counts = np.diff(np.r_[starts, len(rows)])
    wrong = np.flatnonzero(frames != np.arange(len(rows)) - np.repeat(starts, counts) + 1)
    if len(wrong):
        at = wrong[0]
        here = (pids == pids[at]) & (camids == camids[at])
        raise ProtocolError(
            f"identity {pids[at]}, camera {camids[at]}: expected frames 1 to {here.sum()}, found "
            f"{frames[at]}; `frames` are 1-based positions in the sorted files, and draws need all of them"
        )
    groups = zip(pids[starts].tolist(), camids[starts].tolist(), strict=True)
    return dict(zip(groups, np.split(rows, starts[1:]), strict=True)) if len(rows) else {}


def in_order_of(ordered: IntArray, drawn: Sequence[int] | IntArray) -> IntArray:
    """The drawn rows in the order they have in `ordered`."""
    return ordered[np.isin(ordered, drawn)]


def both_sides(name: str, images: ImageTable, query_infrared: bool) -> tuple[IntArray, IntArray]:
    """Rows of the querying and of the other modality, each in canonical order.

    Raises:
        ProtocolError: One modality has no images.
    """
    order = canonical_order(images)
    infrared = images.infrared[order]
    for wanted, word in ((True, "infrared"), (False, "visible")):
        if not (infrared == wanted).any():
            raise ProtocolError(
                f"{name} compares modalities, but among {len(images)} images there is no {word} one"
            )
    return order[infrared == query_infrared], order[infrared != query_infrared]


def known_queries(name: str, images: ImageTable, rows: IntArray) -> IntArray:
    """Those of the rows that may query: unknown people (pid below 0) never do.

    Raises:
        ProtocolError: None is left.
    """
    found = rows[images.known[rows]]
    if not len(found):
        raise ProtocolError(
            f"{name}: each of the {len(rows)} images that would query is of an unknown person (pid below 0), and "
            "those never query; give the images their identity numbers"
        )
    return found


def same_person_same_camera(query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
    """(Q, G) True where identity and camera are known and both equal, or None where no camera is shared."""
    known: NDArray[np.bool_] = (gallery.camids != NO_CAMERA) & (gallery.pids >= 0)
    if not np.intersect1d(query.camids, gallery.camids[known]).size:
        return None
    pids: NDArray[np.bool_] = query.pids[:, None] == gallery.pids
    camids: NDArray[np.bool_] = query.camids[:, None] == gallery.camids
    return pids & camids & known


def camera_notes(images: ImageTable) -> tuple[str, ...]:
    """That no camera rule holds for images of unknown camera."""
    unknown = int((images.camids == NO_CAMERA).sum())
    if not unknown:
        return ()
    if unknown == len(images):
        return ("no camera rule: the images have no camera ids",)
    return (
        f"no camera rule for {unknown} of {len(images)} images, which have no camera id (camid {NO_CAMERA} means "
        "unknown)",
    )


def check_cameras(
    name: str, images: ImageTable, known: range, needed: NDArray[np.bool_] | None = None
) -> None:
    """Refuse cameras a dataset does not have.

    Args:
        name: The protocol's.
        images: All images.
        known: The dataset's cameras.
        needed: (N,) False where the camera may also be `NO_CAMERA`; None needs all.

    Raises:
        ProtocolError: With the first unknown camera and an identity seen there.
    """
    wrong = (images.camids < known[0]) | (images.camids > known[-1])
    if needed is not None:
        wrong &= needed | (images.camids != NO_CAMERA)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        hint = f"; {NO_CAMERA} stands for an unknown camera" if images.camids[row] == NO_CAMERA else ""
        raise ProtocolError(
            f"{int(wrong.sum())} image(s) from cameras that {name} does not have, first: "
            f"camera {images.camids[row]} (identity {images.pids[row]}); "
            f"known cameras are {known[0]} to {known[-1]}{hint}"
        )


def check_class(cls: Any) -> None:
    """Refuse a protocol class that lacks something.

    Raises:
        UsageError: The message names it.
    """
    check_name("protocol", cls, Protocol)
    fields = vars(cls).get("__dataclass_fields__")
    if fields is None:
        raise UsageError(
            f"the protocol {cls.__qualname__} needs @dataclass(frozen=True) above its class, below the line "
            "that registers it"
        )
    check_functions("protocol", cls, trials="images", excluded="query, gallery", notes="images")
    missing = sorted(set(cls.choices) - set(fields))
    if missing:
        raise UsageError(f"the protocol {cls.__qualname__} has `choices` for {missing[0]}, but no such field")
    if cls.default_cmc not in CMC_RULES:
        raise UsageError(
            f"the protocol {cls.__qualname__}: default_cmc {cls.default_cmc!r} must be {' or '.join(CMC_RULES)}"
        )
