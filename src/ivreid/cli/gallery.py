"""`ivreid gallery`: a store of crops to search in; each of its verbs has a file of its own."""

from __future__ import annotations

import typer

from ivreid.cli.gallery_add import add
from ivreid.cli.gallery_copy import copy
from ivreid.cli.gallery_create import create
from ivreid.cli.gallery_delete import delete
from ivreid.cli.gallery_erase import erase
from ivreid.cli.gallery_expire import expire
from ivreid.cli.gallery_export import export
from ivreid.cli.gallery_index import index
from ivreid.cli.gallery_info import info
from ivreid.cli.gallery_show import show
from ivreid.cli.gallery_verify import verify

HELP = "Keep crops of many cameras, with their vectors, to search in."
app = typer.Typer(help=HELP, no_args_is_help=True)


@app.callback()
def _gallery() -> None:
    """Keep crops of many cameras, with their vectors, to search in."""


for _verb in (create, add, info, show, verify, delete, erase, expire, export, copy, index):
    app.command()(_verb)
