"""What a server counts, for Prometheus; no figure names a crop, a person, a camera or a client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Figures"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Figures:
    """The counters of one server, apart from those of others in the process."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter("ivreid_requests", "Answers given", names, registry=own)
        self.seconds = Histogram(
            "ivreid_request_seconds", "From request to answer", ("route",), buckets=SECONDS, registry=own
        )
        self.at_work = Gauge("ivreid_requests_at_work", "Requests at work or waiting", registry=own)
        self.queued = Gauge("ivreid_images_queued", "Pictures that wait to be embedded", registry=own)
        self.batches = Histogram(
            "ivreid_batch_images", "Pictures embedded at once", buckets=BATCHES, registry=own
        )
        self.added = Counter("ivreid_crops_added", "New crops", registry=own)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
