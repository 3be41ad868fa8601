"""`ivreid crop`: cut people out of frames by a detector's boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivreid.types import Modality


def run(
    frames: Annotated[
        Path, typer.Argument(metavar="FRAMES", help="A folder of frames, or a video (extra `video`).")
    ],
    boxes: Annotated[
        Path,
        typer.Argument(metavar="BOXES", help="COCO JSON, MOTChallenge text, or CSV with a header."),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Gets crops/*.png and manifest.csv.")],
    camera: Annotated[str, typer.Option(help="The camera's name.")],
    start: Annotated[
        str, typer.Option(help="When the first frame was taken, with zone: 2026-03-01T22:00:00+01:00.")
    ],
    modality: Annotated[Modality, typer.Option(help="What kind of camera took them.")],
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of a folder; a video knows its own.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="coco, mot or csv; the suffix says it otherwise.")
    ] = None,
    category: Annotated[
        int | None, typer.Option(help="COCO: the number of the people's category, where the file names none.")
    ] = None,
    offset: Annotated[int, typer.Option(help="Added to the boxes' frame numbers.")] = 0,
    pad: Annotated[float, typer.Option(help="Share of its size a box grows by on every side.")] = 0.0,
    best: Annotated[
        int | None, typer.Option(help="Keep the best so many crops of each tracklet; all otherwise.", min=1)
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Leave out boxes of a lower confidence.")
    ] = None,
    min_quality: Annotated[float, typer.Option(help="Leave out crops of a lower quality, 0 to 1.")] = 0.0,
    value_range: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Grey of more than eight bits: image, or LOW,HIGH."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out boxes that show nothing, instead of stopping.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier call wrote.")
    ] = False,
) -> None:
    """Cut people out of frames by boxes, judge the crops, and list them in manifest.csv for a gallery.

    Nobody is detected here: boxes come from a detector or tracker of your choice. Frames are numbered as in their
    files' names, or from 1.
    """
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.terminal import Terminal
    from ivreid.crops import crop_frames
    from ivreid.io import REFUSE, parse_value_range

    notices = Terminal(stderr=True)
    with progress_bar("Reading frames") as tick:
        found = crop_frames(
            frames,
            boxes,
            out,
            camera=camera,
            start=start,
            modality=modality,
            fps=fps,
            form=form,
            category=category,
            offset=offset,
            pad=pad,
            best=best,
            min_confidence=min_confidence,
            min_quality=min_quality,
            value_range=REFUSE if value_range is None else parse_value_range(value_range),
            skip_bad=skip_bad,
            overwrite=overwrite,
            notice=notices.print,
            progress=tick,
        )
    Terminal().print(
        f"{found.crops:,} crops of {found.boxes:,} boxes, {found.tracklets:,} tracklets -> {found.manifest}"
    )
