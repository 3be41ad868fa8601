"""`ivreid score`: anyone's features, scored by a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli import options


def run(
    features: Annotated[
        Path | None,
        typer.Argument(
            metavar="FEATURES.npz|NAME",
            help="A features file, or NAME of the official script's NAME_cam1.mat .. NAME_cam6.mat.",
        ),
    ] = None,
    *,
    protocol: Annotated[
        str,
        typer.Option(help="sysu-mm01, regdb, llcm, cross-modality for your own data, or one of your own."),
    ],
    mode: options.Mode = None,
    shots: options.Shots = None,
    draw: options.Draw = None,
    direction: options.Direction = None,
    all_settings: options.AllSettings = False,
    cmc: Annotated[
        str | None,
        typer.Option(help="CMC rule, image or identity; identity is sysu-mm01's and llcm's, image others'."),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="RegDB: the split (1 to 10) these features are of.")
    ] = None,
    query: Annotated[
        Path | None, typer.Option(metavar="Q.npz", help="Instead of FEATURES: those of the queries.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(metavar="G.npz", help="With --query: those of the gallery.")
    ] = None,
    distances: Annotated[
        Path | None,
        typer.Option(
            metavar="D.npy",
            help="Ready distances, smaller is nearer: all images by all, all of the querying modality by all of the "
            "other, or --query by --gallery, in the files' order; embeddings are not needed then.",
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="cosine, or euclidean on the features as given (the official script's).")
    ] = "cosine",
    permutations: options.Permutations = None,
    test_ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Score these identities only: the official test_id.mat, or test_id.txt."
        ),
    ] = None,
    open_set: options.OpenSet = False,
    rerank: options.Rerank = None,
    single: Annotated[
        bool, typer.Option("--single", help="Compute distances in float32: half the time, ties may move.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where distances are computed: cpu, cuda, cuda:N, mps.")
    ] = "cpu",
    json_out: options.ResultJson = None,
    per_query: options.PerQuery = None,
    latex: options.Latex = False,
    markdown: options.Markdown = False,
    csv: options.Csv = False,
    plugins: options.Plugins = None,
) -> None:
    """Score a features file by a protocol; needs no model and no images.

    FEATURES.npz holds `embeddings` (N, D), `pids`, `camids`, `frames` (1-based position in the sorted files
    of that identity and camera) and, where the camera does not imply it, `modality` ("visible" or
    "infrared"). The table is in percent, mean and standard deviation over the protocol's trials; the JSON in
    fractions, with intervals, breakdowns and verification figures.

    With --query and --gallery nothing is drawn: every query is compared with the whole gallery, under the
    protocol's camera and CMC rules; such files need `embeddings` and `pids` only.

    With --open-set half of the people leave the gallery; the table adds detection and identification rates.
    """
    from ivreid.analysis import score_settings
    from ivreid.cli.outputs import check_outputs, product_of, query_table, show_and_write
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal

    form = options.chosen_form(latex, markdown, csv)
    check_outputs(json_out, per_query, (features, query, gallery, distances, permutations, test_ids))
    queries = query_table(per_query)
    with progress_bar("Scoring") as tick:
        results = score_settings(
            features,
            protocol=protocol,
            settings=[{"mode": mode, "shots": shots, "draw": draw, "direction": direction}],
            every=all_settings,
            notice=Terminal(stderr=True).print,
            query=query,
            gallery=gallery,
            distances=distances,
            test_ids=test_ids,
            metric=metric,
            precision="single" if single else "double",
            rerank=rerank,
            product=product_of(device),
            queries=queries,
            progress=tick,
            cmc=cmc,
            permutations=permutations,
            open_set=open_set,
            trial=trial,
        )
    show_and_write(results, form, json_out, per_query, queries)
