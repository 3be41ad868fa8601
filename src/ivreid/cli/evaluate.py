"""`ivreid evaluate`: trained weights, tested by their dataset's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli import options
from ivreid.errors import UsageError


def run(
    path: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR|WEIGHTS",
            help="A run folder, a weights file, an exported model (.onnx), or hf://ORG/NAME[@REVISION].",
        ),
    ],
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="The dataset's folder; a run folder knows its own.")
    ] = None,
    mode: options.Mode = None,
    shots: options.Shots = None,
    draw: options.Draw = None,
    direction: options.Direction = None,
    trial: Annotated[
        int | None, typer.Option(help="RegDB: the split to test on; the model's own by default.")
    ] = None,
    permutations: options.Permutations = None,
    configured: Annotated[
        bool, typer.Option("--configured", help="Every setting that the run's configuration lists.")
    ] = False,
    all_settings: options.AllSettings = False,
    open_set: options.OpenSet = False,
    mixed: options.Mixed = False,
    gallery_sizes: options.GallerySizes = False,
    dataset: Annotated[
        str | None, typer.Option(help="The dataset's name, where the weights do not say it.")
    ] = None,
    metric: Annotated[str, typer.Option(help="cosine or euclidean.")] = "cosine",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images per batch: speed and memory only.", min=1)] = 64,
    flip: options.Flip = None,
    rerank: options.Rerank = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Test on people trained on; marks the result.")
    ] = False,
    json_out: options.ResultJson = None,
    per_query: options.PerQuery = None,
    latex: options.Latex = False,
    markdown: options.Markdown = False,
    csv: options.Csv = False,
    plugins: options.Plugins = None,
) -> None:
    """Test trained weights by their dataset's protocol and print one table.

    In a run folder it also writes features.npz (test embeddings, for `ivreid score`) and results.json (for
    `ivreid report`); those of other images go to evaluations/NAME in it. A model is never tested on people it was
    trained on: RegDB's trial n needs the model of trial n.
    """
    from ivreid.cli.outputs import check_outputs, query_table, show_and_write
    from ivreid.cli.rank_output import bar_of_rank_0, print_error
    from ivreid.cli.terminal import Terminal
    from ivreid.distributed.failure import fail_once
    from ivreid.distributed.processes import process_from_environment
    from ivreid.evaluation import ResultsNotSaved, RunFolder, configured_settings, evaluate_run
    from ivreid.inference import flip_of

    form = options.chosen_form(latex, markdown, csv)
    queries = query_table(per_query)
    asked = {"mode": mode, "shots": shots, "draw": draw, "direction": direction}
    if configured and any(value is not None for value in asked.values()):
        raise UsageError(
            "--configured takes the settings from the run's configuration; drop the other options"
        )
    process = process_from_environment()
    notices = Terminal(stderr=True, quiet=not process.is_main)
    with fail_once(process, print_error):
        if process.is_main:
            check_outputs(json_out, per_query, [Path(path), RunFolder(Path(path)).results])
        try:
            with bar_of_rank_0("Embedding", process) as tick:
                results = evaluate_run(
                    path,
                    data_root=data,
                    dataset=dataset,
                    trial=trial,
                    settings=configured_settings(path) if configured else [asked],
                    permutations=permutations,
                    metric=metric,
                    device=device,
                    batch_size=batch_size,
                    flip=None if flip is None else flip_of(flip),
                    rerank=rerank,
                    allow_leak=allow_leak,
                    every=all_settings,
                    open_set=open_set,
                    mixed=mixed,
                    gallery_sizes=gallery_sizes,
                    queries=queries,
                    notice=notices.print,
                    progress=tick,
                )
        except ResultsNotSaved as error:
            show_and_write(error.results, form, json_out)
            raise
        if process.is_main:
            show_and_write(results, form, json_out, per_query, queries)
