"""Files: atomic writes, image decoding with limits, hashes. Everything read here is hostile until parsed."""

from ivreid.io.files import (
    atomic_write,
    file_hash,
    fingerprint,
    remove_leftovers,
    write_json,
    write_text,
)
from ivreid.io.image_formats import (
    IMAGE_SUFFIXES,
    OWN_SUFFIXES,
    START,
    is_leftover,
    is_picture,
    kind_of,
    way_out,
)
from ivreid.io.images import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    read_image,
    read_image_bytes,
    size_in_header,
    to_rgb,
    value_range_of,
)
from ivreid.io.inspection import ImageInspection, inspect_image
from ivreid.io.locks import try_lock
from ivreid.io.outputs import OutputKind, check_output, json_with, starting_with
from ivreid.io.sizes import folder_bytes, free_bytes, size_in_words
from ivreid.io.spreadsheet import csv_text
from ivreid.io.value_range import REFUSE, ValueRange, parse_value_range, to_grey

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "OWN_SUFFIXES",
    "REFUSE",
    "START",
    "ImageInspection",
    "OutputKind",
    "ValueRange",
    "atomic_write",
    "check_output",
    "csv_text",
    "file_hash",
    "fingerprint",
    "folder_bytes",
    "free_bytes",
    "inspect_image",
    "is_leftover",
    "is_picture",
    "json_with",
    "kind_of",
    "parse_value_range",
    "read_image",
    "read_image_bytes",
    "remove_leftovers",
    "size_in_header",
    "size_in_words",
    "starting_with",
    "to_grey",
    "to_rgb",
    "try_lock",
    "value_range_of",
    "way_out",
    "write_json",
    "write_text",
]
