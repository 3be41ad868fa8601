"""`ivreid export`: trained weights become one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder, weights file, or hf://ORG/NAME[@REVISION]", metavar="RUN_DIR|WEIGHTS"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write (.onnx)", metavar="MODEL.onnx")],
    to: Annotated[str, typer.Option("--to", help="The format: onnx")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Convolutions and matrix products in int8; needs --calibrate")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="With --int8: images to measure its ranges on, a dataset's folder (its training images are taken) or one "
            "with visible and infrared in it",
            metavar="IMAGES",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="With --int8: the dataset to compare Rank-1 and mAP on; a run folder knows its own",
            metavar="ROOT",
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="With --int8: points in percent that Rank-1 and mAP may each lose")
    ] = 1.0,
    plugins: Plugins = None,
) -> None:
    """Write trained weights as one self-contained ONNX file.

    Every verb takes it where it takes weights, and so does any runtime of ONNX: uint8 RGB images of the card's size
    and whether each is infrared go in, embeddings of length 1 come out. It is compared with the weights first, in
    batches of 1, 2, 7 and 32 and for both modalities; where it computes something else, no file is written.

    With --int8 the weights' validation identities, or else the test identities of the dataset, are ranked in fp32 and
    in int8. Where too much is lost, first the stem and the head stay in fp32, then more; where that does not help, no
    file is written. Thresholds of fp32 do not hold for int8: run ivreid calibrate on the file.

    It needs pip install 'ivreid[export]'.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.export import export_model

    notices, console = Terminal(stderr=True), Terminal()
    with progress_bar("Embedding") as tick:
        found = export_model(
            model,
            out,
            to=to,
            int8=int8,
            calibrate=calibrate,
            data_root=data,
            max_drop=max_drop,
            notice=notices.print,
            progress=tick,
        )
    console.print(
        f"{found.card['method']}: least cosine {found.parity.least_cosine:.7f} to the weights, equal rankings"
    )
    if (cost := found.int8) is not None:
        figures = ", ".join(
            f"{name} {cost.before[name]:.2f} -> {cost.after[name]:.2f}" for name in cost.after
        )
        console.print(f"int8 with {cost.kept} in fp32, {cost.split}, in percent: {figures}")
    console.print(f"{found.card['export']['precision']} -> {out}")
