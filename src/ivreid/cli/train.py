"""`ivreid train`: a configuration becomes a run folder with weights, logs and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ivreid.cli.options import Plugins, again
from ivreid.cli.terminal import Terminal


def run(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="A YAML file, the name of a packaged one (`ivreid config list`), or a published INI file.",
        ),
    ] = None,
    *,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A method's published settings in place of the file's, or without a file: --recipe iv-reid.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="The dataset's layout, e.g. regdb.")] = None,
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
    trials: Annotated[
        str | None,
        typer.Option(metavar="1-10", help="A study: one run per split, RegDB's 1-10 or e.g. 1-3,5."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0-4", help="A study: one run per seed, with --trials per both.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN_DIR", help="The run folder to make.")] = None,
    logger: Annotated[
        list[str] | None,
        typer.Option(help="Log there too: wandb or mlflow, on this machine unless set up; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint, with its settings.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="Train for so long: as many steps as fit here, measured before the first."),
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Train a model from a configuration file.

    Relative paths, in the file too, are relative to the working directory. Ctrl-C saves and leaves; the same
    command with --resume goes on as if nothing had happened. The run folder holds weights.safetensors (to
    use), metrics.jsonl, TensorBoard curves, checkpoints/ and the resolved config.yaml, from which --resume takes
    every setting that is not said again: ivreid train --out RUN_DIR --resume. Exit status: 0 done, 2
    bad input or a run that cannot go on, 130 and 143 stopped by Ctrl-C and SIGTERM with everything saved.

    --minutes trains by the clock: how long a step takes is measured first, and the number of steps that fit is
    written into config.yaml as `steps`. From then on only steps count, so the run resumes exactly. The schedule is
    stretched to them; validations and saving come on top.

    --trials and --seeds train AND test several models, each in a folder of its own below RUN_DIR, and print
    mean ± standard deviation. The same command goes on with an interrupted study: it needs no --resume.
    """
    from ivreid.cli.rank_output import print_error, training_bars
    from ivreid.cli.studies import check_study_options, study_and_show
    from ivreid.cli.training_summary import show_start, show_summary
    from ivreid.config import load_config
    from ivreid.distributed.failure import fail_once
    from ivreid.distributed.processes import process_from_environment
    from ivreid.errors import UsageError
    from ivreid.training import train
    from ivreid.training.resuming import resumed_config

    process = process_from_environment()
    console = Terminal(stderr=True, quiet=not process.is_main)
    with fail_once(process, print_error):
        check_study_options(trial, trials)
        words: list[str | tuple[str, Any]] = list(overrides or [])
        if data is not None:  # these pictures, and none drawn in their place
            words += [("data.root", str(data)), ("data.synthetic", None)]
        given = {"data.trial": trial, "out": out and str(out), "data.dataset": dataset}
        words += [(key, value) for key, value in given.items() if value is not None]
        study = trials is not None or seeds is not None
        if config is None and recipe is None and (study or not resume):
            raise UsageError("say what to train: a configuration (ivreid train sysu-mm01), or --recipe NAME")
        if study and minutes is not None:
            raise UsageError(
                f"--minutes {minutes:g} is for one run; give a study --set steps=N, the same for each"
            )
        read = resumed_config if resume and not study else load_config
        settings = read(config, words, recipe=recipe, notice=console.print)
        if study:
            study_and_show(settings, trials, seeds, console.print)
            return
        with training_bars(process) as (preparing, tick):
            summary = train(
                settings,
                resume=resume,
                minutes=minutes,
                preparing=preparing,
                progress=tick,
                notice=console.print,
                on_start=show_start,
                loggers=logger or (),
            )
    show_summary(summary, Terminal(quiet=not process.is_main), again(plugins))
