"""What `ivreid evaluate` and `ivreid score` write besides their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivreid.analysis import QueryTable
    from ivreid.metrics.distances import MatrixProduct
    from ivreid.protocols import Result


def check_outputs(json_out: Path | None, per_query: Path | None, inputs: Iterable[Path | None]) -> None:
    """Refuse, before the work, files that could not be written or would overwrite something else."""
    from ivreid.analysis.per_query import PER_QUERY
    from ivreid.io import check_output
    from ivreid.protocols import RESULTS

    read = [file for file in inputs if file is not None]
    for out, kind in ((json_out, RESULTS), (per_query, PER_QUERY)):
        if out is not None:
            check_output(out, kind, inputs=read)


def query_table(per_query: Path | None) -> QueryTable | None:
    """What takes every query in, where a file for it was asked for."""
    from ivreid.analysis import QueryTable

    return None if per_query is None else QueryTable()


def show_and_write(
    results: Sequence[Result],
    form: str | None,
    json_out: Path | None,
    per_query: Path | None = None,
    queries: QueryTable | None = None,
) -> None:
    """Print first: whatever happens to the files, the figures are seen."""
    from ivreid.cli.results_table import show_results
    from ivreid.protocols import write_results

    show_results(results, form)
    if json_out is not None:
        write_results(json_out, results[0] if len(results) == 1 else results)
    if per_query is not None and queries is not None:
        queries.write(per_query)


def product_of(device: str) -> MatrixProduct:
    """The matrix product of a device; the processor's needs no torch."""
    from ivreid.metrics.distances import product_on_cpu

    if device == "cpu":
        return product_on_cpu
    from ivreid.inference.device_products import product_on

    return product_on(device)
