"""`ivreid score`: anyone's features, scored by a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Plugins

if TYPE_CHECKING:
    from ivreid.types import Embeddings

SYSU_TEST_IDENTITIES = 96


def run(
    features: Annotated[
        Path,
        typer.Argument(
            metavar="FEATURES.npz|NAME",
            help="A features file, or NAME of the official script's NAME_cam1.mat .. NAME_cam6.mat.",
        ),
    ],
    *,
    protocol: Annotated[
        str,
        typer.Option(
            help="sysu-mm01, regdb, llcm, cross-modality for data of your own, or a protocol of your own."
        ),
    ],
    mode: Annotated[str | None, typer.Option(help="SYSU-MM01: all or indoor.  [default: all]")] = None,
    shots: Annotated[
        int | None,
        typer.Option(help="SYSU-MM01: 1 or 10 gallery images per identity and camera.  [default: 1]"),
    ] = None,
    draw: Annotated[
        str | None,
        typer.Option(
            help="SYSU-MM01: how galleries are drawn, official, agw or iv-reid.  "
            "[default: official with --permutations, else agw]"
        ),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(
            help="The others, query first: infrared-to-visible (default) or visible-to-infrared; LLCM also "
            "visible-to-infrared-swapped."
        ),
    ] = None,
    cmc: Annotated[
        str | None,
        typer.Option(
            help="CMC rule, image or identity.  [default: identity for sysu-mm01 and llcm, else image]"
        ),
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="RegDB: the split (1 to 10) these features are of.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="cosine, or euclidean on the features as given (the official script's).")
    ] = "cosine",
    permutations: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mat", help="SYSU-MM01: rand_perm_cam.mat, for the official draw."),
    ] = None,
    test_ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score these identities only: test_id.mat of the official script, or test_id.txt.",
        ),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Re-rank: k-reciprocal or average-query-expansion; marks the result.")
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="Compute distances in float32: half the time, ties may move.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where distances are computed: cpu, cuda, cuda:N, mps.")
    ] = "cpu",
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Also write the result as JSON.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """Score a features file by a protocol; needs no model and no images.

    FEATURES.npz holds `embeddings` (N, D), `pids`, `camids`, `frames` (1-based position in the sorted files
    of that identity and camera) and, where the camera does not imply it, `modality` ("visible" or
    "infrared"). The table is in percent, mean and standard deviation over the protocol's trials; the JSON in
    fractions, with intervals, breakdowns and verification figures.
    """
    from ivreid.analysis import evaluate_in_full
    from ivreid.cli.progress import progress_bar
    from ivreid.cli.results_table import show_results
    from ivreid.datasets.features import read_features
    from ivreid.io import check_output, file_hash
    from ivreid.metrics.distances import Scorer, product_with
    from ivreid.protocols import make_protocol, write_results
    from ivreid.retrieval import get_reranker

    if json_out is not None:
        check_output(json_out, inputs=[features])
    chosen = make_protocol(
        protocol,
        mode=mode,
        shots=shots,
        draw=draw,
        direction=direction,
        cmc=cmc,
        permutations=permutations,
        trial=trial,
    )
    scorer: Scorer = product_with
    if device != "cpu":
        from ivreid.inference.scorer import product_on

        scorer = product_on(device)
    reranker = get_reranker(rerank, metric=metric) if rerank else None
    embeddings = read_features(features, protocol=protocol)
    if test_ids is not None:
        embeddings = _only(embeddings, test_ids)
    with progress_bar("Scoring") as tick:
        result = evaluate_in_full(
            embeddings,
            chosen,
            metric=metric,
            precision="single" if single else "double",
            distance=reranker,
            rerank=reranker.label if reranker else None,
            scorer=scorer,
            fingerprints={"features": file_hash(features)} if features.is_file() else {},
            notes=[*_notes(protocol, embeddings), *([reranker.note] if reranker else [])],
            progress=tick,
        )
    show_results([result])
    if json_out is not None:
        write_results(json_out, result)


def _only(embeddings: Embeddings, path: Path) -> Embeddings:
    """The embeddings of the identities that a file lists."""
    import numpy as np

    from ivreid.datasets.features import read_pids
    from ivreid.errors import DataError

    wanted = read_pids(path)
    kept = np.isin(embeddings.images.pids, wanted)
    if not kept.any():
        raise DataError(f"{path}: none of its {len(wanted)} identities has features")
    return embeddings.take(kept)


def _notes(protocol: str, embeddings: Embeddings) -> list[str]:
    import numpy as np

    people = len(np.unique(embeddings.images.pids[embeddings.images.known]))
    if protocol != "sysu-mm01" or people == SYSU_TEST_IDENTITIES:
        return []
    return [
        f"{people} identities; SYSU-MM01's test set has {SYSU_TEST_IDENTITIES} (--test-ids FILE keeps those)"
    ]
