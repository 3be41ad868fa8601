"""A store in PostgreSQL with pgvector, for many machines: `postgresql://...`."""

from ivreid.gallery.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
