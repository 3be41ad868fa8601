"""What `ivreid train` says at the end of one run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ivreid.cli.invocation import command
from ivreid.cli.terminal import Terminal

if TYPE_CHECKING:
    from ivreid.training import Summary


def show_summary(summary: Summary, console: Terminal, more: str) -> None:
    """Steps, time, the kept epoch, the weights, and the next command with `more` at its end."""
    best = summary.best
    kept = (
        f"; kept epoch {best['epoch'] + 1} (Rank-1 {100 * best['rank1']:.1f}%, mAP {100 * best['mAP']:.1f}%)"
        if best
        else ""
    )
    console.print(f"{summary.steps:,} steps in {summary.seconds / 60:.1f} min{kept}")
    console.print(f"{summary.folder / 'weights.safetensors'}")
    console.print(f"next: {command()} evaluate {shlex.quote(str(summary.folder))}{more}")
