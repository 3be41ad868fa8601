"""What became of pictures that were given to a gallery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Taken:
    """What became of pictures that were given.

    Attributes:
        added: New crops, by id.
        known: How many were there already.
        erased: How many were refused, for their pixels were erased.
        bad: What could not be read, a sentence each.
    """

    added: tuple[str, ...] = ()
    known: int = 0
    erased: int = 0
    bad: tuple[str, ...] = ()

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.added + other.added,
            self.known + other.known,
            self.erased + other.erased,
            self.bad + other.bad,
        )
