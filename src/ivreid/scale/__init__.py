"""Millions of images: embedding in shards that survive whatever kills a process, on one machine or many."""

from ivreid.scale.embed import ShardedEmbedding, embed_in_shards

__all__ = ["ShardedEmbedding", "embed_in_shards"]
