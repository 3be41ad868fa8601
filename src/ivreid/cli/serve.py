"""`ivreid serve`: a gallery as a page and an interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Device, OtherWeights, Topology


def run(
    gallery: Address,
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this machine's own needs --token-file")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Who may do what: a line ROLE TOKEN each; roles are search, ingest and admin"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="One more name by which the server may be called; repeatable", metavar="NAME"),
    ] = None,
    topology: Topology = None,
    model: OtherWeights = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Of a gallery's shards search those that answer, and say in each answer which did not",
        ),
    ] = False,
    max_bytes: Annotated[int, typer.Option(help="Of a request's body", min=1)] = 8 * 1024 * 1024,
    max_pixels: Annotated[int, typer.Option(help="Of a request's pictures together", min=1)] = 25_000_000,
    max_images: Annotated[int, typer.Option(help="In one request", min=1)] = 64,
    waiting: Annotated[
        int, typer.Option(help="Requests at work or waiting; one more is told to come again", min=1)
    ] = 64,
    deadline: Annotated[float, typer.Option(help="Seconds for a request")] = 30.0,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="One JSON line a request on stderr; never what was sent")
    ] = False,
    device: Device = "auto",
) -> None:
    """Serve a gallery: a page to search by night, and an interface for programs.

    Only this machine reaches it, unless --host says otherwise. It needs pip install 'ivreid[serve]'.
    """
    import logging
    from threading import Event

    from ivreid.cli.signals import ended_by_signals
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.gallery import Gallery
    from ivreid.gallery.topology import read_topology

    try:
        from ivreid.serve import Limits, read_tokens, serve
    except ModuleNotFoundError as error:
        raise UsageError(f"serving needs {error.name}: pip install 'ivreid[serve]'") from error
    limits = Limits(bytes=max_bytes, pixels=max_pixels, images=max_images, waiting=waiting, deadline=deadline)
    tokens = None if token_file is None else read_tokens(token_file)
    times = None if topology is None else read_topology(topology)
    if access_log:
        logging.getLogger("ivreid.serve.access").setLevel(logging.INFO)
    with (
        ended_by_signals(Event()),
        Gallery.open(gallery, model=model, allow_partial=allow_partial, device=device) as opened,
    ):
        serve(
            opened,
            host=host,
            port=port,
            tokens=tokens,
            hosts=allow_host or (),
            topology=times,
            limits=limits,
            notice=Terminal(stderr=True).print,
        )
