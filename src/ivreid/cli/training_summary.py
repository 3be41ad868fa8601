"""What `ivreid train` says before the first step of a run, and at its end."""

from __future__ import annotations

import shlex
import sys
import textwrap
from typing import TYPE_CHECKING

from ivreid.cli.invocation import command
from ivreid.cli.terminal import Terminal

if TYPE_CHECKING:
    from ivreid.training import Summary
    from ivreid.training.start import StartSummary

INDENT = 9
"""Columns of the subject before a sentence."""


def show_start(start: StartSummary) -> None:
    """What the run is, a line a subject; on a terminal a long one goes on under its beginning, broken at words."""
    console = Terminal(stderr=True)
    width = max(console.width - INDENT, INDENT) if console.is_terminal else sys.maxsize
    for word, sentence in start.lines():
        first, *more = textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False)
        console.print("\n".join([f"{word:<{INDENT}}{first}", *(" " * INDENT + line for line in more)]))


def show_summary(summary: Summary, console: Terminal, more: str) -> None:
    """Steps, time, the kept epoch, the weights, and the next command with `more` at its end."""
    from ivreid.errors import counted

    best = summary.best
    where = ", chosen on the TEST identities" if summary.on_test else ""
    kept = (
        f"; kept epoch {best['epoch'] + 1} (Rank-1 {100 * best['rank1']:.1f}%, mAP {100 * best['mAP']:.1f}%{where})"
        if best
        else ""
    )
    console.print(f"{counted(summary.steps, 'step')} in {summary.seconds / 60:.1f} min{kept}")
    console.print(f"{summary.folder / 'weights.safetensors'}")
    console.print(f"next: {command()} evaluate {shlex.quote(str(summary.folder))}{more}")
