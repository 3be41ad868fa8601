"""`ivreid embed`: turn images into a features file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.types import Modality


def run(
    model: Annotated[Path, typer.Argument(help="Run folder or weights file", metavar="RUN_DIR|WEIGHTS")],
    images: Annotated[
        Path,
        typer.Argument(
            help="One image, or a folder with all folders in it; a folder named by a number gives the pid of "
            "its images (7/a.jpg), a folder camN their camera (cam2/7/a.jpg)",
            metavar="IMAGES",
        ),
    ],
    modality: Annotated[Modality, typer.Option(help="What kind of camera took them")],
    out: Annotated[Path, typer.Option(help="The features file to write (.npz)", metavar="FEATURES.npz")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images per batch: speed and memory only", min=1)] = 64,
    workers: Annotated[
        int | None, typer.Option(help="Decoding threads; chosen by the cores otherwise")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirror image's embedding")] = False,
) -> None:
    """Turn a folder of images, or one image, into a features file.

    It holds L2-normalised embeddings with pids, cameras and paths.

    An image that cannot be read stops the command, which names all such images.

    Images in no numbered folder have the unknown pid -1: good for search only.
    """
    from rich.console import Console

    from ivreid.cli.progress import progress_bar
    from ivreid.datasets.features import write_features
    from ivreid.inference import UNKNOWN_PID, embed_samples, find_samples, load

    root, samples = find_samples(images, modality)
    embedder = load(model, device=device, batch_size=batch_size, workers=workers, flip=flip)
    with progress_bar("Embedding") as tick:
        embeddings = embed_samples(embedder, root, samples, progress=tick)
    write_features(out, embeddings)
    known = {s.pid for s in samples} - {UNKNOWN_PID}
    Console(highlight=False, soft_wrap=True).print(
        f"{len(samples):,} {modality.value} image(s) of {len(known):,} known identities, "
        f"{embedder.embedding_dim} values each -> {out}",
        markup=False,
    )
