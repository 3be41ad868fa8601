"""A store in one folder: SQLite is the truth, a mapped matrix makes searches fast."""

from ivreid.gallery.local.store import LocalStore

__all__ = ["LocalStore"]
