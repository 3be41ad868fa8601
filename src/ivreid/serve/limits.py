"""What a server takes from one request, and from all together."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ivreid.errors import UsageError

KINDS = ("JPEG", "PNG", "WebP")
"""Of pictures that may be sent."""
LONGEST_PURPOSE = 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits that hold before anything is decoded.

    Attributes:
        bytes: Of a request's body.
        pixels: Of a request's pictures together, as their headers say.
        images: In one request.
        k: Hits of one query.
        waiting: Requests at work or waiting for it; one more is told to come again.
        connections: Open at once.
        deadline: Seconds for a request from its first byte to its answer.
        sending: Seconds that a client may take to send a body.
        drain: Seconds that requests at work are given when the server ends.

    Raises:
        UsageError: A limit that lets nothing through.
    """

    bytes: int = 8 * 1024 * 1024
    pixels: int = 25_000_000
    images: int = 64
    k: int = 200
    waiting: int = 64
    connections: int = 512
    deadline: float = 30.0
    sending: float = 10.0
    drain: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UsageError(f"the limit `{field.name}` is {value}; it must be more than 0")
