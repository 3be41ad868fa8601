"""What each query's ranked list says: average precision, inverse negative penalty, rank of the first match.

None of these needs the ranked list itself. They need the ranks of the true matches, and a rank is one more
than the number of gallery images that are nearer, so the lists are counted (few matches) or their values
sorted (many), never argsorted. Only where a gallery image lies at exactly the distance of a true match does
order matter: there the tied images are counted by their place, so that ties always fall in gallery order.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError, UsageError
from ivreid.machine import available_cores
from ivreid.metrics.counting import count_nearer, sort_nearer
from ivreid.metrics.identities import Identities

CmcRule = Literal["image", "identity"]
"""`image`: rank of the first matching image. `identity`: the list is first reduced to one per identity."""

CMC_RULES: tuple[CmcRule, ...] = ("image", "identity")
_FEW_MATCHES = 10  # up to here counting beats sorting (benchmarks/evaluation.py)
_COUNT_BLOCK, _SORT_BLOCK = (
    1 << 20,
    1 << 22,
)  # bytes of distances a thread works on: level-2 cache, level-3 cache
_WORTH_THREADS = 1 << 21  # distances; for fewer, starting threads costs more than they save


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each query, in the order of the queries.

    Attributes:
        valid: (Q,) bool; False where exclusion left no true match. The other fields hold NaN or 0 there.
        ap: (Q,) float64 average precision: mean over true matches of (matches so far) / rank.
        inp: (Q,) float64 inverse negative penalty: (true matches) / (rank of the last), Ye et al., TPAMI
            2021.
        first_image: (Q,) int64 1-based rank of the first true match among the images.
        first_identity: (Q,) int64 1-based rank of the true identity among the identities, each at its first
            image.
        tied: (Q,) bool; True where another person's image lies at exactly the distance of a true match, so that
            the order of tied images decides (`ivreid.metrics.ties`).
    """

    valid: NDArray[np.bool_]
    ap: NDArray[np.float64]
    inp: NDArray[np.float64]
    first_image: NDArray[np.int64]
    first_identity: NDArray[np.int64]
    tied: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        if not len(self.tied):  # not given: none is
            object.__setattr__(self, "tied", np.zeros(len(self.valid), dtype=np.bool_))
        sizes = {len(getattr(self, f.name)) for f in fields(self)}
        if len(sizes) > 1:
            raise DataError(f"outcomes need one value per query in every field, they have {sorted(sizes)}")
        for f in fields(self):
            getattr(self, f.name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.valid)

    def first(self, rule: CmcRule) -> NDArray[np.int64]:
        """(Q,) ranks of the first true match under a CMC rule."""
        return self.first_image if rule == "image" else self.first_identity

    def take(self, rows: Any) -> Outcomes:
        """The outcomes of the given queries (an index or boolean array), in that order."""
        return Outcomes(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """The outcomes of several groups of queries, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def rank_queries(
    distances: NDArray[Any],
    query_pids: NDArray[np.int64],
    gallery_pids: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None = None,
    *,
    threads: int | None = None,
) -> Outcomes:
    """Rank every query's gallery and say where its true matches stand.

    Args:
        distances: (Q, G), smaller is nearer; only their order within a row matters. Any memory layout;
            Fortran order saves a copy where true matches are few. Equal distances stand in gallery order.
        query_pids: (Q,) identity of each query; one below 0 (an unknown person) has no true match.
        gallery_pids: (G,) identity of each gallery image; each below 0 is a person of its own.
        excluded: (Q, G) True for pairs the protocol forbids; they vanish from the query's list.
        threads: Threads to use; None takes up to four where the work is worth it. The figures never depend on
            it.

    Raises:
        UsageError: Shapes that do not fit.
        DataError: NaN or infinite distances.
    """
    distances = np.asarray(distances)
    if distances.dtype not in (np.float32, np.float64):
        distances = distances.astype(np.float64)
    query_pids, gallery_pids = np.asarray(query_pids), np.asarray(gallery_pids)
    shape = (len(query_pids), len(gallery_pids))
    for name, array in (("distances", distances), ("excluded", excluded)):
        if array is not None and array.shape != shape:
            raise UsageError(
                f"{name} have shape {array.shape}; {shape[0]} queries and {shape[1]} images need {shape}"
            )
    if 0 in shape:
        return _empty(shape[0])
    gallery = Identities.of(gallery_pids)
    wanted = gallery.find(query_pids)
    if threads is None:
        threads = min(4, available_cores()) if distances.size >= _WORTH_THREADS else 1
    size = _COUNT_BLOCK if gallery.members.shape[1] <= _FEW_MATCHES else _SORT_BLOCK
    height = max(16, min(size // (shape[1] * distances.itemsize), -(-shape[0] // threads)))
    blocks = [slice(start, start + height) for start in range(0, shape[0], height)]

    def rank(block: slice) -> Outcomes:
        return rank_block(_forbid(distances[block], excluded, block), wanted[block], gallery)

    if threads == 1 or len(blocks) == 1:
        return Outcomes.concatenate([rank(block) for block in blocks])
    with ThreadPoolExecutor(threads) as pool:
        return Outcomes.concatenate(list(pool.map(rank, blocks)))


def _forbid(distances: NDArray[Any], excluded: NDArray[np.bool_] | None, block: slice) -> NDArray[Any]:
    if not (np.isfinite(distances.max()) and np.isfinite(distances.min())):
        raise DataError("distances hold NaN or infinite values; check the embeddings they were made from")
    if excluded is None:
        return distances
    distances = np.array(distances, order="K")
    distances[excluded[block]] = np.inf
    return distances


def rank_block(distances: NDArray[Any], wanted: NDArray[np.int64], gallery: Identities) -> Outcomes:
    """Rank a block of queries that fits the processor's cache; `rank_queries` is the checked way in.

    Args:
        distances: (B, G) float, finite but for excluded pairs, which hold infinity.
        wanted: (B,) the queries' identities as `gallery.find` gives them.
        gallery: The gallery's identities.
    """
    rows = np.ascontiguousarray(gallery.members[wanted].T)
    matches = np.where(rows >= 0, distances[np.arange(len(distances)), rows], np.inf)
    matches.sort(axis=0)
    few = len(matches) <= _FEW_MATCHES
    nearer, nearer_identities, tied = (count_nearer if few else sort_nearer)(distances, matches, gallery)
    rank = nearer + 1.0
    mixed = np.zeros(len(distances), dtype=np.bool_)
    for i in np.flatnonzero(tied.any(axis=0)):
        ahead, mixed[i] = _ahead_among_ties(distances[i], rows[:, i], matches[:, i], tied[:, i])
        rank[:, i] += ahead
        if tied[0, i]:
            nearer_identities[i] = _identities_before(distances[i], rows[:, i], matches[0, i], gallery)
    found = np.isfinite(matches)
    number = found.sum(axis=0)
    valid = number > 0
    with np.errstate(invalid="ignore"):
        ap = (np.arange(1, len(rank) + 1)[:, None] / np.where(found, rank, np.inf)).sum(axis=0) / number
        inp = number / np.where(found, rank, 0).max(axis=0)
    first_image = np.where(valid, rank[0], 0).astype(np.int64)
    first_identity = np.where(valid, nearer_identities + 1, 0)
    return Outcomes(valid, ap, inp, first_image, first_identity, mixed)


def _ahead_among_ties(
    distances: NDArray[Any], rows: NDArray[np.int64], matches: NDArray[Any], tied: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], bool]:
    """How many images at the very distance of each match stand before it in gallery order, for one query.

    Also whether any of those shows somebody else.

    Args:
        distances: (G,) with infinity for excluded images.
        rows: (M,) the matches' gallery rows in gallery order, padded with -1.
        matches: (M,) their distances, ascending, padded with infinity.
        tied: (M,) which of those are tied.
    """
    ahead, mixed = np.zeros(len(matches), dtype=np.int64), False
    for value in np.unique(matches[tied]):
        own = rows[(rows >= 0) & (distances[rows] == value)]
        there = np.flatnonzero(distances == value)
        ahead[matches == value] = np.searchsorted(there, own)
        mixed |= len(there) > len(own)
    return ahead, mixed


def _identities_before(
    distances: NDArray[Any], rows: NDArray[np.int64], nearest: Any, gallery: Identities
) -> int:
    """How many identities stand before one query's first match where that match is tied."""
    first = rows[(rows >= 0) & (distances[rows] == nearest)][0]
    before = np.flatnonzero(distances <= nearest)
    before = before[(distances[before] < nearest) | (before < first)]
    return len(np.unique(gallery.index[before]))


def _empty(queries: int) -> Outcomes:
    nothing, zero = np.full(queries, np.nan), np.zeros(queries, dtype=np.int64)
    return Outcomes(np.zeros(queries, dtype=np.bool_), nothing, nothing.copy(), zero, zero.copy())
