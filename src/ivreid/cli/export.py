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
    plugins: Plugins = None,
) -> None:
    """Write trained weights as one self-contained ONNX file.

    Every verb takes it where it takes weights, and so does any runtime of ONNX: uint8 RGB images of the card's size
    and whether each is infrared go in, embeddings of length 1 come out. It is compared with the weights first, in
    batches of 1, 2, 7 and 32 and for both modalities; where it computes something else, no file is written.

    It needs pip install 'ivreid[export]'.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.export import export_model

    notices, console = Terminal(stderr=True), Terminal()
    found = export_model(model, out, to=to, notice=notices.print)
    console.print(
        f"{found.card['method']}, {found.card['export']['precision']}: least cosine {found.parity.least_cosine:.7f} to the "
        f"weights, equal rankings -> {out}"
    )
