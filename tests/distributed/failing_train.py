"""`ivreid train` whose rank 1 fails in step 3; torchrun starts it in `test_torchrun.py`."""

from __future__ import annotations

import os
import sys
from typing import Any

from ivreid.cli.main import main
from ivreid.errors import TrainingError
from ivreid.training import loop

real = loop.Run.step


def step(self: Any, *args: Any) -> None:
    if self.position.step == 2 and os.environ["RANK"] == "1":
        raise TrainingError("out of luck in step 3")
    real(self, *args)


loop.Run.step = step  # type: ignore[method-assign]
main(sys.argv[1:])
