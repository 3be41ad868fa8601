"""What people bring ready-made: distances instead of embeddings, queries and a gallery instead of a draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivreid.errors import DataError
from ivreid.protocols.base import HasIds, Protocol, Trial, canonical_order, in_order_of, known_queries
from ivreid.types import Embeddings, ImageTable, IntArray, as_array

GIVEN = "given"
"""What a result's option `metric` says where the distances were brought."""


@dataclass(frozen=True, eq=False)
class DistanceMatrix:
    """Distances between images, which somebody else computed.

    Attributes:
        values: (R, C) distances, smaller is nearer.
        images: The table of N images.
        rows: (N,) int64, the row that holds an image's distances as a query; -1 where none does.
        columns: (N,) int64, the column that holds the distances to an image; -1 where none does.

    Raises:
        DataError: Values that are no matrix of real numbers, or rows and columns of another number of images.
    """

    values: NDArray[Any]
    images: ImageTable
    rows: IntArray
    columns: IntArray

    def __post_init__(self) -> None:
        values = as_array(self.values, "distances")
        object.__setattr__(self, "values", values)
        shape = (int(self.rows.max(initial=-1)) + 1, int(self.columns.max(initial=-1)) + 1)
        if values.shape != shape:
            raise DataError(
                f"`distances` have shape {values.shape}; these images need (queries, others) = {shape}"
            )

    @classmethod
    def of(cls, values: Any, images: ImageTable, query_infrared: bool | None = None) -> DistanceMatrix:
        """The distances of all N images: (N, N), or one modality's images by the other's, in the order given.

        Args:
            values: The matrix.
            images: The N images.
            query_infrared: Which modality the rows stand for where the matrix is not (N, N).

        Raises:
            DataError: A matrix of another shape.
        """
        values, every = as_array(values, "distances"), np.arange(len(images))
        if values.shape == (len(images), len(images)) or query_infrared is None:
            return cls(values, images, every, every)
        query = images.infrared == query_infrared
        sides = int(query.sum()), int((~query).sum())
        if values.shape != sides:
            word, other = ("infrared", "visible") if query_infrared else ("visible", "infrared")
            raise DataError(
                f"`distances` have shape {values.shape}; {len(images)} images need {(len(images), len(images))}, or "
                f"({word}, {other}) = {sides}, in the order of the images"
            )
        return cls.of_sides(values, images, np.flatnonzero(query), np.flatnonzero(~query))

    @classmethod
    def of_sides(cls, values: Any, images: ImageTable, query: IntArray, gallery: IntArray) -> DistanceMatrix:
        """The distances of some images (rows of the table) to some others."""
        rows, columns = np.full((2, len(images)), -1)
        rows[query], columns[gallery] = np.arange(len(query)), np.arange(len(gallery))
        return cls(values, images, rows, columns)

    def holds(self, query: IntArray, gallery: IntArray) -> bool:
        """Whether all distances between these images are there."""
        return bool((self.rows[query] >= 0).all() and (self.columns[gallery] >= 0).all())

    def between(self, query: IntArray, gallery: IntArray) -> NDArray[Any]:
        """(Q, G) distances between images, given as rows of the table.

        Raises:
            DataError: They are not there.
        """
        if not self.holds(query, gallery):
            raise DataError("`distances` do not hold those between the protocol's queries and its gallery")
        return np.asarray(self.values[np.ix_(self.rows[query], self.columns[gallery])])

    def take(self, rows: Any) -> DistanceMatrix:
        """The distances between the given images (an index or boolean array)."""
        index = np.arange(len(self.images))[rows]
        kept, columns = (np.unique(side[index][side[index] >= 0]) for side in (self.rows, self.columns))
        values = self.values[np.ix_(kept, columns)]
        places = [
            np.where(side[index] >= 0, np.searchsorted(there, side[index]), -1)
            for side, there in ((self.rows, kept), (self.columns, columns))
        ]
        return DistanceMatrix(values, self.images.take(index), *places)


Scored = Embeddings | DistanceMatrix
"""What can be scored."""


@dataclass(frozen=True, eq=False)
class FixedTrial(Protocol):
    """One trial of queries and gallery as somebody brought them: nothing is drawn, nobody is left out.

    Attributes:
        rule: The protocol whose camera rule holds.
        query, gallery: Rows of the image table.
    """

    name: ClassVar[str] = "as-given"

    rule: Protocol
    query: IntArray
    gallery: IntArray
    direction: str | None = None

    @property
    def title(self) -> str:
        """Camera rule, direction where it is known, and CMC rule in words."""
        way = f", {self.direction}" if self.direction else ""
        return f"Query and gallery as given, camera rule of {self.rule.name}{way}, {self.cmc} CMC"

    @property
    def options(self) -> Mapping[str, Any]:
        """Camera rule, direction, CMC rule."""
        return {"camera_rule": self.rule.name, "direction": self.direction, "cmc": self.cmc}

    def trials(self, images: ImageTable) -> tuple[Trial, ...]:
        """One trial.

        Raises:
            ProtocolError: No query, or none of a known person.
        """
        order = canonical_order(images)
        query = known_queries("scoring", images, in_order_of(order, self.query))
        return (Trial(query, in_order_of(order, self.gallery)),)

    def excluded(self, query: HasIds, gallery: HasIds) -> NDArray[np.bool_] | None:
        """What the rule excludes."""
        return self.rule.excluded(query, gallery)

    def notes(self, images: ImageTable) -> tuple[str, ...]:
        """What the rule notes."""
        return self.rule.notes(images)
