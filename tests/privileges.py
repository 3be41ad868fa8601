"""Root may read and write whatever the permissions say; a test of permissions gives up that right while it runs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OVERRIDE = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
VERSION = 0x20080522  # of the structures below: linux/capability.h, _LINUX_CAPABILITY_VERSION_3
SET_SECUREBITS, GET_SECUREBITS, NOROOT = (
    28,
    27,
    1,
)  # with NOROOT a program that root starts is given no rights


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> int:
    found: int = getattr(_libc(), name)(*args)
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return found


@contextmanager
def permissions_bind() -> Iterator[None]:
    """Within, this thread and what it starts are bound by permissions, as `setpriv` would have it.

    Raises:
        OSError: This system does not let go of the right.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low words, then high words
    _call("capget", header, rights)
    mine, bits = rights[0], _call("prctl", GET_SECUREBITS)
    try:
        _call("prctl", SET_SECUREBITS, bits | NOROOT)
        rights[0] = mine & ~OVERRIDE
        _call("capset", header, rights)
        yield
    finally:
        rights[0] = mine
        _call("capset", header, rights)
        _call("prctl", SET_SECUREBITS, bits)
