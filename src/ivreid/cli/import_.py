"""`ivreid import`: a published checkpoint becomes safe weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ivreid.cli.options import Plugins

SHOWN = 6


def run(
    checkpoint: Annotated[Path, typer.Argument(help="The published file (.pth, .pt, .pkl or .safetensors)")],
    out: Annotated[Path, typer.Option("--out", help="The weights to write, WEIGHTS.safetensors")],
    from_: Annotated[
        str, typer.Option("--from", help="The method it is of; `ivreid methods` lists them")
    ] = "iv-reid",
    dataset: Annotated[str, typer.Option(help="The dataset it was trained on")] = "sysu-mm01",
    last_stride: Annotated[
        int | None,
        typer.Option("--last-stride", min=1, max=2, help="Stride of its last stage  [default: as published]"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="Height x width of its images  [default: as published]"),
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Convert a published checkpoint to safe weights, executing nothing it contains.

    A pickle that would call anything is refused, by the name of what it calls.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.errors import UsageError
    from ivreid.methods.checkpoint_import import import_checkpoint

    sides = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size) if size else None
    if size and sides is None:
        raise UsageError(f"--size {size!r} must be height x width, for example 384x128")

    imported = import_checkpoint(
        checkpoint,
        out,
        from_,
        dataset=dataset,
        last_stride=last_stride,
        size=(int(sides[1]), int(sides[2])) if sides else None,
    )

    method = imported.method
    settings = imported.card["settings"]
    console = Terminal()
    for name, value in (
        *([("found", imported.remarks)] if imported.remarks else []),
        ("method", method.name),
        ("settings", ", ".join(f"{key} {value}" for key, value in settings.items() if key != "pretrained")),
        ("embedding", f"{method.embedding_dim} numbers"),
        ("identities", f"{method.num_classes} in training"),
        ("images", "{}x{} (height x width)".format(*method.size)),
        (
            "tensors",
            f"{len(imported.tensors)} used, {len(imported.ignored)} ignored{_some(imported.ignored)}",
        ),
        ("written", str(out)),
    ):
        console.print(f"{name:<11} {value}")


def _some(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f": {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
