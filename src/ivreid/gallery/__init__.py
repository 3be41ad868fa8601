"""Crops of many cameras, their vectors, and search among them."""

from ivreid.gallery.record import Crop, pixel_digest
from ivreid.gallery.store import Added, AuditRow, Binding, Found, Hit, Receipt, Report, Store, Summary
from ivreid.gallery.where import EVERYTHING, Where

__all__ = [
    "EVERYTHING",
    "Added",
    "AuditRow",
    "Binding",
    "Crop",
    "Found",
    "Hit",
    "Receipt",
    "Report",
    "Store",
    "Summary",
    "Where",
    "pixel_digest",
]
