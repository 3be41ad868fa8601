"""`ivreid`: every verb, and how errors leave the program."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from ivreid.cli.help_text import Root, Verb, Verbs
from ivreid.cli.options import with_user_paths
from ivreid.cli.terminal import Terminal, prepare_streams, set_talk, show_log, talk
from ivreid.errors import DataError, IvreidError, OutOfMemory
from ivreid.machine import keep_freed_memory

VERBS = {
    "demo": "The whole story on synthetic data: generate, train, evaluate, report.",
    "synth": "Write a synthetic dataset in a real dataset's layout.",
    "init": "Make a table and a configuration of pictures of your own.",
    "data": "Check a dataset on disk: counts, and every problem in one pass.",
    "train": "Train a model from a configuration file (YAML, or the published INI).",
    "config": "Look at configurations: packaged ones, and every key.",
    "tune": "Search for better hyper-parameters on validation identities.",
    "runs": "List the runs in a folder: state, best figures, size.",
    "evaluate": "Evaluate a trained model by its dataset's protocol.",
    "score": "Score anyone's features file by a protocol; needs no model.",
    "compare": "Compare two results files: difference, interval, warnings.",
    "calibrate": "Fit a same-person distance threshold on validation identities.",
    "embed": "Turn a folder of images into a features file.",
    "crop": "Cut people out of frames by a detector's boxes, for a gallery.",
    "export": "Write trained weights as one ONNX file for onnxruntime.",
    "gallery": "Keep crops of many cameras, with their vectors, to search in.",
    "search": "Find the people of some pictures in a gallery.",
    "serve": "Serve a gallery: a page to search in, and an interface for programs.",
    "methods": "List the methods: paper, cost, published figures; or print one's page.",
    "reproduce": "Put a method's published figures beside those reached here.",
    "import": "Convert a published checkpoint to safe weights, executing nothing.",
    "report": "Write a run's self-contained HTML report.",
    "card": "Write the model card of trained weights: data, protocol, figures, limits.",
    "doctor": "Say what this machine offers and what would make training faster.",
}
"""A verb's file is `ivreid/cli/VERB.py` (`import_.py` for `import`, a Python keyword) and holds a function `run`,
or an `app` where the verb has verbs of its own. It is imported only when called: `--help` stays instant."""

HELP = """Visible-infrared person re-identification: find a person seen by one kind of camera among pictures of the other.

[bold]First steps[/bold]: [cyan]ivreid demo[/cyan] runs the whole story on synthetic data in about ten minutes.
With a real dataset: [cyan]ivreid data check sysu-mm01 ROOT[/cyan], then [cyan]ivreid train sysu-mm01 --data ROOT[/cyan],
then [cyan]ivreid evaluate RUN_DIR[/cyan]. Exit status: 0 done, 1 a check found problems, 2 wrong use or bad input."""


QUIET, VERBOSE = ("--quiet", "-q"), ("--verbose", "-v")
"""Known before and after the verb."""

STOPPED_BY_SIGNAL = 128
"""Exit statuses from here on are 128 + signal: work stopped on request, which is no error."""


def _load(verb: str) -> object:
    return importlib.import_module(f"ivreid.cli.{'import_' if verb == 'import' else verb}")


def build_app(verb: str | None) -> typer.Typer:
    """The command line with `verb` loaded in full and the other verbs as one-line entries."""
    app = typer.Typer(
        cls=Root,
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", help="Print the version and leave.", is_eager=True, callback=_version
        ),
        quiet: bool = typer.Option(False, *QUIET, help="No bars and notes; results and errors alone."),
        verbose: bool = typer.Option(False, *VERBOSE, help="Say more, and where an error came from."),
    ) -> None:
        pass

    root.__doc__ = HELP
    for name, summary in VERBS.items():
        module = _load(name) if name == verb else None
        if hasattr(module, "app"):
            for command in module.app.registered_commands:
                command.callback, command.cls = with_user_paths(command.callback), Verb
            app.add_typer(module.app, name=name, short_help=summary, cls=Verbs)
        else:
            run = with_user_paths(getattr(module, "run", _placeholder))
            app.command(name, cls=Verb, short_help=summary)(run)
    return app


def _placeholder() -> None:
    """Stands for a verb that this call does not use."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ivreid {version('ivreid')}")
        raise typer.Exit


def _settle_talk(arguments: list[str]) -> list[str]:
    """The arguments without --quiet and --verbose, which are obeyed.

    Raises:
        SystemExit: Both are there.
    """
    verb = next((at for at, word in enumerate(arguments) if not word.startswith("-")), 0)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found: dict[tuple[str, str], bool] = {}
    rest = arguments
    for names in (QUIET, VERBOSE):
        # a short letter after the verb may be the verb's own, or the value of an option
        taken = [
            at for at, word in enumerate(rest[:end]) if word == names[0] or (word == names[1] and at <= verb)
        ]
        rest = [word for at, word in enumerate(rest) if at not in taken]
        end -= len(taken)
        found[names] = bool(taken)
    if all(found.values()):
        Terminal(stderr=True, essential=True).print("error: --quiet and --verbose exclude each other")
        sys.exit(2)
    set_talk(quiet=found[QUIET], verbose=found[VERBOSE])
    return rest


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an `IvreidError` becomes one message and its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    keep_freed_memory()
    prepare_streams()
    show_log()
    arguments = _settle_talk(arguments)
    completed = os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    verb = next((word for word in arguments or completed if not word.startswith("-")), None)
    try:
        build_app(verb if verb in VERBS else None)(arguments, prog_name="ivreid")
    except IvreidError as error:
        _leave(error, error)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        Terminal(stderr=True, essential=True).print(
            f"error: out of memory{why}; fewer images, or a machine with more, would do"
        )
        sys.exit(OutOfMemory.exit_status)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # `ivreid ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if error.filename is None:
            raise
        told = DataError(f"cannot use {error.filename}: {error.strerror}")
        Terminal(stderr=True, essential=True).print(f"error: {told.on_a_screen()}")
        sys.exit(told.exit_status)
    except Exception as error:
        from ivreid.plugins import blamed

        whose = blamed(error)
        if whose is None:
            raise
        _leave(whose, error)


def _leave(told: IvreidError, error: BaseException) -> NoReturn:
    """Say what went wrong, and with --verbose where, and leave with its exit status."""
    console = Terminal(stderr=True, essential=True)
    if talk.verbose:
        console.print("".join(traceback.format_exception(error)), end="")
    if told.exit_status < STOPPED_BY_SIGNAL:
        console.print("error:", style="bold red", end=" ")
    console.print(told.on_a_screen())
    sys.exit(told.exit_status)
