"""Ctrl-C and SIGTERM as a wish to stop at the next step, not as an exception in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from ivreid.distributed.collectives import reduce_max
from ivreid.distributed.processes import SINGLE_PROCESS, ProcessRank
from ivreid.errors import TrainingError
from ivreid.evaluation.sharded import Interrupted


class TrainingStopped(TrainingError):
    """Training ended early on request; the state is saved. The exit status is the shell's: 128 + signal."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum  # 130 for Ctrl-C, 143 for SIGTERM


class StopSignal:
    """Within the block, the first SIGINT or SIGTERM is only noted; a second one acts as usual.

    Args:
        process: Which process of how many. The launcher of several repeats a signal while they save and leave,
            so further ones are only noted as well, also after the block; it kills what takes too long.
    """

    def __init__(self, process: ProcessRank = SINGLE_PROCESS) -> None:
        self.process = process
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def anywhere(self) -> int:
        """The signal that some process has received, or 0; every process asks, and gets the same answer."""
        return reduce_max(self.process, self.received or 0)

    def interrupt(self, _done: int, _total: int) -> None:
        """A progress callback that ends an embedding once a signal has come.

        Raises:
            Interrupted: One has.
        """
        if self.received is not None:
            raise Interrupted

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(signum)
        if self.process.is_single:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # others cannot take signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.is_single or not self.received:
            self._restore()
