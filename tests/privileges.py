"""Root may read and write whatever the permissions say; a test of permissions gives up that right for a while."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h, linux/prctl.h, linux/securebits.h
CAPABILITY_VERSION = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2
GET_SECUREBITS, SET_SECUREBITS = 27, 28
NOROOT = 1  # programs that root starts get no rights of their own


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Within, this thread and all that it starts are bound by permissions, as under `setpriv`.

    Raises:
        OSError: This system does not let go of the right.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    rights = (
        ctypes.c_uint32 * 6
    )()  # effective, permitted, inheritable: their low words, then their high words
    _call("capget", header, rights)
    effective, bits = rights[0], _call("prctl", GET_SECUREBITS)
    try:
        _call("prctl", SET_SECUREBITS, bits | NOROOT)
        rights[0] = effective & ~(DAC_OVERRIDE | DAC_READ_SEARCH)
        _call("capset", header, rights)
        yield
    finally:
        rights[0] = effective
        _call("capset", header, rights)
        _call("prctl", SET_SECUREBITS, bits)


def _call(name: str, *arguments: object) -> int:
    found: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return found
