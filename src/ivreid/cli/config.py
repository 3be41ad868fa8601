"""`ivreid config`: the packaged configurations, and every key one may set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins

app = typer.Typer(help="Look at configurations: packaged ones, and every key.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Look at configurations: packaged ones, and every key."""


@app.command("list")
def list_() -> None:
    """List the packaged configurations; `ivreid train NAME` takes each by its name."""
    from ivreid.cli.terminal import Terminal
    from ivreid.packaged import packaged_names, packaged_text

    console, names = Terminal(), packaged_names()
    width = max(map(len, names))
    for name in names:
        first = packaged_text(name).partition("\n")[0].lstrip("# ")
        console.print(f"{name:<{width}}  {first}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="As `ivreid config list` names it", metavar="NAME")],
) -> None:
    """Print a packaged configuration with its comments: the start of one's own."""
    from ivreid.packaged import packaged_text

    typer.echo(packaged_text(name), nl=False)


@app.command()
def keys(
    prefix: Annotated[
        str, typer.Argument(help="A section, a key, or the beginning of one", metavar="PREFIX")
    ] = "",
    method: Annotated[
        str | None, typer.Option(help="Whose own settings stand under `method`.  [default: iv-reid]")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """List every key of a configuration with its type, default and meaning.

    Each may stand in the file, or on the command line: --set optimizer.lr=0.001. A key with [] is one of each
    entry of a list.
    """
    from textwrap import fill

    from rich.text import Text

    from ivreid.cli.terminal import Terminal
    from ivreid.config import describe_keys
    from ivreid.config.schema import DEFAULT_METHOD

    console, indent = Terminal(), "    "
    for key in describe_keys(prefix, method=method or DEFAULT_METHOD):
        console.print(Text(key.name, style="bold"))
        given = "required" if key.default is None else f"default {key.default}"
        line = f"{key.type}; {given}. {key.meaning}"
        width = (
            console.width if console.is_terminal else len(line) + len(indent)
        )  # one line where it is searched
        console.print(Text(fill(line, width, initial_indent=indent, subsequent_indent=indent)))


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(help="Write it here instead of printing it", metavar="FILE.json")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Write the configuration as JSON Schema, by which editors complete and check keys.

    Put a comment on the first line of a configuration for editors with the YAML language server:

    # yaml-language-server: $schema=FILE.json
    """
    import json

    from ivreid.config import config_schema
    from ivreid.io import check_output, json_with, write_text

    if out is not None:
        check_output(out, json_with("JSON schemas", "properties"))
    text = json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
