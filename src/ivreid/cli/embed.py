"""`ivreid embed`: turn images into a features file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivreid.cli.options import Flip, Plugins
from ivreid.errors import UsageError
from ivreid.types import UNKNOWN_PID, Modality

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.scale import ShardedEmbedding


def run(
    model: Annotated[
        str,
        typer.Argument(
            help="Run folder, weights file, exported model (.onnx), or hf://ORG/NAME[@REVISION]",
            metavar="RUN_DIR|WEIGHTS",
        ),
    ],
    images: Annotated[
        Path,
        typer.Argument(
            help="One image, or a folder with all folders in it, linked ones too; a folder named by a number "
            "gives the pid of its images (7/a.jpg), a folder camN their camera (cam2/7/a.jpg)",
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
    flip: Flip = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Of several numbered folders above an image, which names the person: outer, inner or none",
        ),
    ] = None,
    half: Annotated[
        bool,
        typer.Option("--half", help="Store float16: half the size, values rounded to about three digits"),
    ] = False,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Go on where an image cannot be read; FEATURES.skipped.json says why"
        ),
    ] = False,
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="K/N|N",
            help="Embed shard K of N, or all N one after another, into FEATURES.npz.shards; finished ones are skipped, the "
            "last joins them, and unreadable images are listed as by --skip-bad",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --shards N: let a Ray cluster embed them, whose machines see the same files (auto, HOST:PORT or "
            "ray://HOST:PORT); needs pip install 'ivreid[ray]'",
        ),
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Turn a folder of images, or one image, into a features file.

    It holds L2-normalised embeddings with pids, cameras and paths.

    JPEG, PNG, BMP, WebP and TIFF files are images. Every other file is named and left out. An image or folder
    that cannot be read stops the command, which names all of them, unless --skip-bad is said.

    Images in no numbered folder have the unknown pid -1: good for search only.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.inference import embed_folder, flip_of
    from ivreid.scale import embed_in_shards

    notices, flips = Terminal(stderr=True), flip_of(flip or "none")
    if ray is not None and shards is None:
        raise UsageError("--ray embeds in shards; say how many with --shards N")
    with progress_bar("Embedding") as tick:
        given: dict[str, Any] = {"device": device, "batch_size": batch_size, "workers": workers}
        given |= {"flip": flips, "identity": identity, "half": half}
        given |= {"notice": notices.print, "progress": tick}
        if shards is None:
            embeddings = embed_folder(model, images, modality, out=out, skip_bad=skip_bad, **given)
        else:
            found = embed_in_shards(model, images, modality, out, shards=shards, ray=ray, **given)
            _tell(found, notices)
            if found.embeddings is None:
                return
            embeddings = found.embeddings
    known = set(embeddings.images.pids.tolist()) - {UNKNOWN_PID}
    Terminal().print(
        f"{len(embeddings):,} {modality.value} image(s) of {len(known):,} known identities, "
        f"{embeddings.vectors.shape[1]} values each -> {out}",
    )


def _tell(found: ShardedEmbedding, notices: Terminal) -> None:
    notices.print(
        f"{len(found.shards):,} shard(s), {sum(one.skipped for one in found.shards):,} of them finished before: "
        f"{sum(one.rows for one in found.shards):,} image(s), {found.errors:,} that "
        f"cannot be read; {len(found.waiting):,} shard(s) to do -> {found.folder}"
    )
