"""`ivreid gallery info`: what a gallery holds."""

from __future__ import annotations

import json as json_text
from contextlib import closing

from ivreid.cli.gallery_options import Address, Json


def info(gallery: Address, json: Json = False) -> None:
    """Say what a gallery holds: crops, cameras, times, and the model it is bound to."""
    from ivreid.cli.gallery_text import summary_lines
    from ivreid.cli.terminal import Terminal
    from ivreid.gallery.opening import open_store

    with closing(open_store(gallery)) as store:
        summary, bound = store.summary(), store.binding
    console = Terminal()
    if json:
        console.print(json_text.dumps(summary.to_json() | bound.to_json(), indent=1))
        return
    for line in summary_lines(summary, bound):
        console.print(line)
