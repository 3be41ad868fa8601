"""File locks, where the file system has them."""

from __future__ import annotations

import errno
from typing import Literal

Held = Literal["mine", "theirs", "no locks"]

_HELD_BY_ANOTHER = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}


def try_lock(file: int, *, by_process: bool = True) -> Held:
    """Take the lock of an open file without waiting; it falls when the file is closed or the process ends.

    Args:
        file: A descriptor open for writing.
        by_process: One lock for the whole process, which children that it forks do not inherit. Otherwise one for
            each opening of the file, so that threads exclude each other as well.

    Returns:
        "mine"; "theirs" where another holds it; "no locks" where the system or the file system has none (Windows,
        some network file systems): what the lock would guard must then be safe, or the user be told.
    """
    try:
        import fcntl
    except ImportError:
        return "no locks"
    take = fcntl.lockf if by_process else fcntl.flock
    try:
        take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return "theirs" if error.errno in _HELD_BY_ANOTHER else "no locks"
    return "mine"
