"""Pages of the documentation that are made from the code: the command line, every key, every public call.

A hook of mkdocs (`make docs`), which adds them to the pages of `docs/` while it builds.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import ivreid


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages; called by mkdocs."""
    from mkdocs.structure.files import File

    for name, text in pages():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Names and texts of the generated pages, in Markdown."""
    yield "command-line.md", command_line()
    yield "configuration.md", configuration()
    yield "python.md", calls()


def command_line() -> str:
    """Every verb with its help."""
    import typer

    from ivreid.cli.main import VERBS, build_app

    lines = ["# Command line", "", "What `ivreid VERB --help` says, verb by verb.", ""]
    for verb in VERBS:
        root: Any = typer.main.get_command(build_app(verb))
        lines += verb_help(root.get_command(None, verb), f"ivreid {verb}", "##")
    return "\n".join(lines)


def verb_help(command: Any, name: str, level: str) -> Iterator[str]:
    """A verb's usage, text and options; of a verb that has verbs of its own, theirs."""
    yield from (f"{level} {name}", "")
    if hasattr(command, "list_commands"):
        yield from (cell(command.help or ""), "")
        for inner in command.list_commands(None):
            yield from verb_help(command.get_command(None, inner), f"{name} {inner}", level + "#")
        return
    from ivreid.cli.help_text import examples

    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("```", f"{name} {usage}", "", *plain(command.help).splitlines(), "")
    yield from (*examples(name.partition(" ")[2]).splitlines(), "```", "")
    yield from ("| option | meaning |", "|---|---|")
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            option = parameter.param_type_name == "option"
            names = ", ".join(parameter.opts) if option else parameter.metavar or parameter.name.upper()
            default = parameter.default
            shown = f" [default: {default}]" if type(default) in (int, float, str) and default != "" else ""
            yield f"| `{names}` | {cell((getattr(parameter, 'help', None) or '') + shown)} |"
    yield ""


def configuration() -> str:
    """Every key with type, default and meaning."""
    from ivreid.config import describe_keys

    lines = [
        "# Configuration",
        "",
        "As `ivreid config keys` prints it. [Training](../training.md) explains what belongs together.",
        "",
    ]
    section = None
    for key in describe_keys():
        head = key.name.partition(".")[0] if "." in key.name else "top"
        if head != section:
            section = head
            lines += ["", f"## {section}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        lines.append(
            f"| `{key.name}` | {cell(key.type)} | `{cell(str(key.default))}` | {cell(key.meaning)} |"
        )
    return "\n".join(lines) + "\n"


def calls() -> str:
    """Every public name of `ivreid` with its signature and docstring, read from the source by mkdocstrings."""
    lines = [
        "# Python, call by call",
        "",
        "Everything of `import ivreid`. Shapes, units and errors stand with each.",
        "",
    ]
    for name in ivreid.__all__:
        value = getattr(ivreid, name)
        home = getattr(value, "__module__", None) or "ivreid"
        importlib.import_module(home)
        lines += [f"::: {home}.{getattr(value, '__qualname__', name)}", ""]
    return "\n".join(lines)


def plain(text: str | None) -> str:
    """A help text without what only a terminal needs."""
    return (text or "").replace("\b\n", "").strip()


def cell(text: str) -> str:
    """A text that stands in one cell of a table."""
    return " ".join(plain(text).split()).replace("|", "\\|")
