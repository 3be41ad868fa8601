"""A store in PostgreSQL with pgvector, for many machines: `postgresql://...`; several, with commas between, are shards."""

from ivreid.gallery.postgres.shards import ShardedStore
from ivreid.gallery.postgres.store import PostgresStore

__all__ = ["PostgresStore", "ShardedStore"]
