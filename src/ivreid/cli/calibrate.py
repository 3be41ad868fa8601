"""`ivreid calibrate`: fit a same-person threshold on validation identities and store it with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins


def run(
    source: Annotated[
        Path,
        typer.Argument(
            help="Run folder or weights file, whose validation images are embedded; or a features file of "
            "people the model was not trained on",
            metavar="RUN_DIR|WEIGHTS|FEATURES.npz",
        ),
    ],
    *,
    fpr: Annotated[
        float, typer.Option(help="Share of pairs of two people that may pass as one: 0.01 is one in 100")
    ] = 0.01,
    fpir: Annotated[
        float | None,
        typer.Option(help="Share of searches for somebody absent that may find a stranger; with --searched"),
    ] = None,
    searched: Annotated[
        int | None, typer.Option(help="Fit for searches of so many rows (--fpir 0.01 where not given)", min=1)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the card calls it: default, or search with --searched")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="With FEATURES.npz: the run folder or weights file to store the threshold in"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="ROOT", help="The dataset's folder, where it has moved since training"),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="With FEATURES.npz: whose cameras imply the modality, and whose rule holds"),
    ] = None,
    metric: Annotated[str, typer.Option(help="cosine or euclidean")] = "cosine",
    confidence: Annotated[float, typer.Option(help="Coverage of the intervals")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling over people")] = 0,
    allow_leak: Annotated[
        bool,
        typer.Option("--allow-leak", help="Take identity numbers that were trained on; marks the threshold"),
    ] = False,
    allow_test: Annotated[
        bool, typer.Option("--allow-test", help="Take features of the test all the same; marks the threshold")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="fp32, bf16 or fp16: what is computed in, or what FEATURES.npz was")
    ] = "fp32",
    flip: Annotated[
        str | None,
        typer.Option(
            "--flip",
            metavar="[HOW]",
            help="Embed mirror images, too: average or unit; or: FEATURES.npz was made so",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images per batch: speed and memory only", min=1)] = 64,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the calibration as JSON", metavar="OUT")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Fit what distances mean, on people the model has not seen, and store it by name in the weights' card.

    With --fpr: the largest distance at which no more than this share of pairs of two people (one visible, one
    infrared image) counts as the same person. With --searched N: distances in whole searches, for "likely same".
    Cameras and crowds differ: check it where it will be used, and never let it alone decide about a person.
    """
    from ivreid.cli.calibration_text import calibration_sentences
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.evaluation import calibrate
    from ivreid.inference import flip_of
    from ivreid.io import check_output, json_with, write_json

    if json is not None:
        kind = json_with("calibrations", "metric", "trained_on")
        check_output(json, kind, inputs=[source, *([weights] if weights else [])])
    with progress_bar("Embedding validation images") as tick:
        stored = calibrate(
            source,
            fpr=fpr,
            fpir=fpir,
            searched=searched,
            name=name,
            weights=weights,
            data_root=data,
            protocol=protocol,
            metric=metric,
            confidence=confidence,
            seed=seed,
            allow_leak=allow_leak,
            allow_test=allow_test,
            precision=precision,  # type: ignore[arg-type]
            flip=flip_of(flip or "none"),
            device=device,
            batch_size=batch_size,
            progress=tick,
        )
    console = Terminal()
    console.print(calibration_sentences(stored.calibration, synthetic="synthetic" in stored.origin))
    if stored.weights is not None:
        console.print(f"stored in the card of {stored.weights} as {stored.name!r}")
    if json is not None:
        write_json(json, stored.to_json())
