"""What one of several processes shows: rank 0 everything, the first to fail its error, the others nothing."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ivreid.cli.progress import Tick, progress_bar, progress_bars
from ivreid.cli.terminal import Terminal
from ivreid.errors import IvreidError

if TYPE_CHECKING:
    from ivreid.distributed.processes import ProcessRank


def bar_of_rank_0(label: str, process: ProcessRank) -> AbstractContextManager[Tick | None]:
    """A progress bar in the process that speaks for all, nothing in the others."""
    return progress_bar(label) if process.is_main else nullcontext()


def training_bars(process: ProcessRank) -> AbstractContextManager[Sequence[Tick | None]]:
    """Two bars in the process that speaks for all: images made ready, batches trained on."""
    return progress_bars("Preparing images", "Training") if process.is_main else nullcontext((None, None))


def print_error(error: BaseException) -> None:
    """Show what a process died of: a message, or where it is a bug of ours the traceback."""
    from ivreid.plugins import blamed

    error = blamed(error) or error
    if not isinstance(error, IvreidError):
        traceback.print_exception(error)
        return
    console = Terminal(stderr=True, essential=True)
    console.print("error:", style="bold red", end=" ")
    console.print(str(error))
