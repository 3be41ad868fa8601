"""How a contract test says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ivreid.errors import IvreidError


class BrokenContract(IvreidError, AssertionError):
    """A class does not do what every class of its kind must do; the message names the part and the remedy."""


def require(condition: bool, message: str) -> None:
    """Go on only where the condition holds.

    Raises:
        BrokenContract: With the message.
    """
    if not condition:
        raise BrokenContract(message)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Say what was being tried where anything raises.

    Raises:
        BrokenContract: With the reason.
    """
    try:
        yield
    except BrokenContract:
        raise
    except Exception as error:
        kind = "" if isinstance(error, IvreidError) else f"{type(error).__name__}: "
        raise BrokenContract(f"{what}: {kind}{error}") from error
