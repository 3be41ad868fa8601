"""`ivreid train`: a configuration becomes a run folder with weights, logs and checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler


def run(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="A YAML file (see configs/), or one of the published INI files."
        ),
    ],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting, e.g. --set optimizer.lr=0.001; repeatable.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="ROOT", help="The dataset's folder.")] = None,
    trial: Annotated[int | None, typer.Option(help="RegDB's train/test split, 1 to 10.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN_DIR", help="The run folder to make.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")
    ] = False,
) -> None:
    """Train a model from a configuration file.

    Relative paths, in the file too, are relative to the working directory. Ctrl-C saves and leaves; the same
    command with --resume goes on as if nothing had happened. The run folder holds weights.safetensors (to
    use), metrics.jsonl, TensorBoard curves, checkpoints/ and the resolved config.yaml. Exit status: 0 done, 2
    bad input or a run that cannot go on, 130 and 143 stopped by Ctrl-C and SIGTERM with everything saved.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.training import load_config, train

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    logging.basicConfig(
        format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)]
    )

    def notice(line: str) -> None:
        console.print(line, markup=False)

    words = list(overrides or [])
    words += [
        f"{key}={value}"
        for key, value in (("data.root", data), ("data.trial", trial), ("out", out))
        if value is not None
    ]
    settings = load_config(config, words, notice=notice)
    with progress_bar("Training") as tick:
        summary = train(settings, resume=resume, progress=tick, notice=notice)
    stdout = Console(soft_wrap=True, highlight=False)
    best = summary.best
    kept = (
        f"; kept epoch {best['epoch'] + 1} (Rank-1 {100 * best['rank1']:.1f}%, mAP {100 * best['mAP']:.1f}%)"
        if best
        else ""
    )
    stdout.print(f"{summary.steps:,} steps in {summary.seconds / 60:.1f} min{kept}", markup=False)
    stdout.print(f"{summary.folder / 'weights.safetensors'}", markup=False)
    stdout.print(f"next: ivreid evaluate {summary.folder}", markup=False)
