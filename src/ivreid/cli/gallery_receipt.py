"""The receipt of `ivreid gallery erase` and `expire`, printed."""

from __future__ import annotations

import json as json_text

import typer

from ivreid.cli.gallery_text import receipt_lines
from ivreid.cli.terminal import Terminal
from ivreid.gallery import Receipt


def print_receipt(receipt: Receipt, json: bool) -> None:
    """Print a receipt.

    Raises:
        typer.Exit: With status 1 where something is left to be done.
    """
    console = Terminal()
    for line in [json_text.dumps(receipt.to_json(), indent=1)] if json else receipt_lines(receipt):
        console.print(line)
    if receipt.left:
        raise typer.Exit(1)
