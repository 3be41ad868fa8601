"""How a `--help` reads: paragraphs as wide as the terminal, brackets as they are, names, and examples at the end."""

from __future__ import annotations

import re
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from ivreid.catalogue import REGISTRIES
from ivreid.cli.examples import EXAMPLES
from ivreid.packaged import packaged_names

FLIPS = ("none", "average", "unit")


def names() -> str:
    """Every method, dataset and protocol there is, and augmentations where somebody registered one; no package is loaded."""
    return "\n\n".join(
        f"{kind.capitalize()}s: {', '.join(registry)}" for kind, registry in REGISTRIES.items() if registry
    )


def examples(verb: str) -> str:
    """The examples of a verb, "data check" say, as they stand at the end of its help."""
    lines = "\n".join(EXAMPLES.get(verb, ()))
    return f"Examples:\n{lines}" if "\n" in lines else f"Example:\n{lines}"


def flowing(text: str | None) -> str:
    """A docstring whose paragraphs are one line each: the terminal breaks them, the source does not."""
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", part.strip()) for part in re.split(r"\n\s*\n", text or ""))


def next_step(context: Any, missing: Any) -> str:
    """What to give where something required is missing: the names there are, and a call that works."""
    told = getattr(missing, "type_descriptor", None) or getattr(missing, "type", None)
    if getattr(told, "choices", None):
        return ""  # they are told already
    verb = context.command_path.partition(" ")[2]
    asked = {("reproduce", "name"): "method", ("config show", "name"): "configuration"}
    kind = asked.get((verb, missing.name), missing.name)
    known: Any = packaged_names() if kind == "configuration" else REGISTRIES.get(kind, ())
    choices = f"Choose from: {', '.join(known)}. " if known else ""
    return f"{choices}\nExample: {EXAMPLES[verb][0]}" if verb in EXAMPLES else choices


def prepare(command: Any, context: Any, *, with_names: bool) -> None:
    """Make a command's help ready to be shown: once, for it is the last thing that its process does."""
    command.epilog = "\n\n".join(
        [
            *([escape(names())] if with_names else []),
            escape(examples(context.command_path.partition(" ")[2])),
        ]
    )


class Root(TyperGroup):
    """`ivreid`: its help ends with the names and examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Look the names up only where they are shown."""
        prepare(self, ctx, with_names=True)
        self.help = flowing(self.help)
        super().format_help(ctx, formatter)


class Verbs(TyperGroup):
    """A verb that has verbs of its own."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """End with examples; each verb is told by the first sentence of its text."""
        prepare(self, ctx, with_names=False)
        for command in self.commands.values():
            command.help = escape(command.help or "")
        super().format_help(ctx, formatter)


class Verb(TyperCommand):
    """A verb: the help of one that takes plugins names what can be given, those of the plugins included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--flip` alone says "average"; it had no value once."""
        given = [
            "--flip=average" if word == "--flip" and not set(args[at + 1 : at + 2]) & set(FLIPS) else word
            for at, word in enumerate(args)
        ]
        try:
            return super().parse_args(ctx, given)
        except typer.BadParameter as error:
            if hasattr(error, "param_type"):  # something that is required is missing
                error.message = next_step(ctx, error.param)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Look the names up only where they are shown; a bracket of the text is a bracket, no colour."""
        prepare(self, ctx, with_names=any(parameter.name == "plugins" for parameter in self.params))
        self.help = escape(flowing(self.help))
        parameters: list[Any] = [one for one in self.params if getattr(one, "help", None)]
        for parameter in parameters:
            parameter.help = escape(parameter.help)
        super().format_help(ctx, formatter)
