"""What to type to call this program again."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command() -> str:
    """`ivreid` where the shell finds it, else the way this very call was made, e.g. `.venv/bin/ivreid`."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m ivreid"
    found = shutil.which("ivreid")
    if called.name != "ivreid" or not called.exists() or (found and Path(found).samefile(called)):
        return "ivreid"
    near = os.path.relpath(called)
    return shlex.quote(str(called) if near.startswith("..") else near)
