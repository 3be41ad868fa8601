"""Files: atomic writes, image decoding with limits, hashes. Everything read here is hostile until parsed."""

from ivreid.io.deep import REFUSE, Deep, to_grey
from ivreid.io.files import (
    atomic_write,
    file_hash,
    fingerprint,
    remove_leftovers,
    write_json,
    write_text,
)
from ivreid.io.images import MAX_FILE_BYTES, MAX_PIXELS, deep_span, open_image, read_image, to_rgb
from ivreid.io.kinds import IMAGE_SUFFIXES, OWN_SUFFIXES, START, is_leftover, kind_of, way_out
from ivreid.io.locks import try_lock

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "OWN_SUFFIXES",
    "REFUSE",
    "START",
    "Deep",
    "atomic_write",
    "deep_span",
    "file_hash",
    "fingerprint",
    "is_leftover",
    "kind_of",
    "open_image",
    "read_image",
    "remove_leftovers",
    "to_grey",
    "to_rgb",
    "try_lock",
    "way_out",
    "write_json",
    "write_text",
]
