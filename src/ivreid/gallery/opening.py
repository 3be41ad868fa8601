"""From an address to a store: a folder, or a URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ivreid.errors import UsageError, did_you_mean
from ivreid.gallery.local import LocalStore
from ivreid.gallery.store import Binding, Store
from ivreid.paths import user_path
from ivreid.reading import clean, shown_address

if TYPE_CHECKING:
    from ivreid.gallery.postgres import PostgresStore, ShardedStore


def _open_postgres(url: str) -> Store:
    from ivreid.gallery.postgres import PostgresStore, ShardedStore

    if "," in url:
        return ShardedStore(url)
    store = PostgresStore(url)
    if "shards" in store.meta:
        store.close()
        raise UsageError(
            f"{store.address} is one of {store.meta['shards']} shards of a gallery; give the addresses of all, with "
            "commas between"
        )
    return store


def _create_postgres(url: str, binding: Binding, weights: Path) -> Store:
    from ivreid.gallery.postgres import PostgresStore, ShardedStore

    return (ShardedStore if "," in url else PostgresStore).create(url, binding, weights)


SCHEMES: dict[str, tuple[Callable[[str], Store], Callable[[str, Binding, Path], Store]]] = dict.fromkeys(
    ("postgresql", "postgres"), (_open_postgres, _create_postgres)
)
"""For each scheme of a URL, what opens a store there and what makes one."""


def open_store(address: str | Path, *, allow_partial: bool = False) -> Store:
    """The store at an address.

    Args:
        address: A folder, or a URL.
        allow_partial: Of shards use those that answer, for reading only.

    Raises:
        UsageError: A URL of an unknown kind, or parts of what has none.
        DataError: No store there, or a damaged one.
    """
    scheme = scheme_of(address)
    if allow_partial:
        if scheme not in SCHEMES or "," not in str(address):
            raise UsageError(f"{shown_address(address)} has no shards, so it gives no partial answers")
        from ivreid.gallery.postgres import ShardedStore

        return ShardedStore(str(address), allow_partial=True)
    return _known(scheme)[0](str(address)) if scheme else LocalStore(user_path(address))


def indexed_store(address: str | Path) -> PostgresStore | ShardedStore:
    """The store at an address, of a kind that an index may be made for.

    Raises:
        UsageError: A folder, whose search needs none.
        DataError: No store there.
    """
    store = open_store(address)
    if isinstance(store, LocalStore):
        store.close()
        raise UsageError(
            f"{store.address} is a folder, whose search is exact and needs no index; only galleries in PostgreSQL can "
            "have one"
        )
    return cast("PostgresStore | ShardedStore", store)


def create_store(address: str | Path, binding: Binding, weights: Path) -> Store:
    """Make an empty store for a model's vectors, with its weights.

    Raises:
        UsageError: Something is there already, or a URL of an unknown kind.
        DataError: It cannot be made.
    """
    scheme = scheme_of(address)
    if scheme:
        return _known(scheme)[1](str(address), binding, weights)
    return LocalStore.create(user_path(address), binding, weights)


def scheme_of(address: str | Path) -> str:
    """What stands before :// in a URL; empty for a path."""
    scheme, mark, _ = str(address).partition("://")
    return scheme if mark and not isinstance(address, Path) else ""


def _known(scheme: str) -> tuple[Callable[[str], Store], Callable[[str, Binding, Path], Store]]:
    if scheme not in SCHEMES:
        known = did_you_mean(scheme, ["a folder", *(f"{name}://..." for name in SCHEMES)])
        raise UsageError(f"there is no kind of gallery {clean(scheme, 40)}://; {known}")
    return SCHEMES[scheme]
