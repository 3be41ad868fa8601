"""Several runs on one page: figures side by side, curves over each other, queries that one wins and the other loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivreid.analysis.grid import Block, Cell, Grid
from ivreid.analysis.run_tables import compare_runs, run_names
from ivreid.errors import DataError, IvreidError, UsageError
from ivreid.io import check_output, starting_with, write_text
from ivreid.protocols.result import Result, plainest
from ivreid.report import plots
from ivreid.report.document import document
from ivreid.report.for_the_paper import paper_sentence
from ivreid.report.html import Html, absent, el, join, table
from ivreid.report.inputs import ImageLoader
from ivreid.report.page_data import PageData
from ivreid.report.pictures import Pictures
from ivreid.report.run_files import RunFiles, parse_config
from ivreid.report.run_pictures import picture_loader, protocol_again, root_of, value_range_of_run
from ivreid.report.training_curves import learning_figures
from ivreid.report.won_and_lost import FirstPlaces, first_places, pairs_section

PAGE = starting_with("pages", ".html", b"<!doctype html>")


@dataclass(frozen=True)
class Run:
    """A run folder's part of the page: its name, its files, its results, its dataset's folder."""

    name: str
    files: RunFiles
    results: tuple[Result, ...]
    config: dict[str, Any]
    root: Path | None


def write_comparison(
    runs: Sequence[Path | str],
    out: Path | str = "comparison.html",
    *,
    names: Sequence[str] | None = None,
    data: Path | str | None = None,
) -> Path:
    """Write one page about several runs, or studies.

    Args:
        runs: Their folders, two at least; each holds results.
        out: The page.
        names: What the runs are called; else their folders name them.
        data: The dataset's folder, where the configurations do not say where it lies.

    Returns:
        The path of the page.

    Raises:
        UsageError: Fewer than two runs, a folder that is none or holds no results, or another kind of file at `out`.
        ConfigError, DataError: A file that is damaged, or a page that cannot be written.
    """
    out = Path(out)
    if len(runs) < 2:
        raise UsageError("a comparison needs two run folders at least")
    called = list(names) if names is not None else run_names(runs)
    opened = [_open(name, Path(run), data) for name, run in zip(called, runs, strict=True)]
    check_output(out, PAGE)
    tables = compare_runs([run.results for run in opened], names=called)
    loader = _loader(opened)
    pictures = Pictures(loader)
    shared = next((t for t in tables if len(t.blocks[0].rows) > 1 and not t.blocks[0].heading), None)
    plain = {} if shared is None else {row.name: row.result for row in shared.blocks[0].rows}
    sections = [
        ("results", "Results", join([_table(table.grid()) for table in tables])),
        ("curves", "Ranking curves", _curves(plain)),
        ("wins", "Won and lost", _wins(opened, plain, pictures)),
        ("training", "Training", _training(opened)),
        ("paper", "For the paper", _paper(opened)),
    ]
    title = " and ".join(called) if len(called) == 2 else f"{len(called)} runs"
    header = [el("p", "ivreid comparison", class_="kicker"), el("h1", title)]
    page = document(title, el("header", *header), sections, PageData(pictures))
    write_text(out, page)
    return out


def _open(name: str, folder: Path, data: Path | str | None) -> Run:
    files = RunFiles(folder)
    config = parse_config(files.config_text(), folder / "config.yaml")
    own = (one for one in files.results() if not one.get("evaluation"))  # those of other images stay aside
    results = tuple(Result.from_json(one, str(folder)) for one in own)
    if not results:
        raise UsageError(f"{folder} holds no results.json; evaluate it first: ivreid evaluate {folder}")
    return Run(name, files, results, config, Path(data) if data is not None else root_of(config))


def _table(grid: Grid) -> Html:
    """A table for people; several blocks stand one after another, each with its heading."""
    parts = [_block(grid, block) for block in grid.blocks]
    notes = el("ul", *(el("li", note) for note in grid.notes), class_="notes") if grid.notes else None
    caption, *reading = grid.caption
    return join([el("h3", caption), *parts, el("p", " ".join(reading), class_="reading"), notes])


def _block(grid: Grid, block: Block) -> Html:
    rows = [[row[0].text, *map(_cell, row[1:])] for row in block.rows]
    return table(grid.head, rows, caption=block.heading or None, class_="plain", name="runs")


def _cell(cell: Cell) -> Html:
    figure = el("strong", cell.text) if cell.bold else el("span", cell.text)
    return join([figure, el("span", f" {cell.detail}", class_="spread") if cell.detail else None])


def _curves(plain: dict[str, Result]) -> Html:
    if not plain:
        return absent("curves over each other: no two runs share a plain setting")
    results = [result.to_json() for result in plain.values()]
    names = list(plain)
    drawn = [plots.cmc_curves(results, names)]
    if any(len(result.trials) > 1 for result in plain.values()):
        drawn.append(plots.trial_spread(results, names))
    title = next(iter(plain.values())).title
    return join([el("p", f"{title}.", class_="lead"), el("div", *drawn, class_="pair")])


def _training(runs: Sequence[Run]) -> Html:
    logs: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        own = run.files.metrics()
        below = {} if own else run.files.learning()
        logs |= {run.name: own} if own else {f"{run.name}/{name}": rows for name, rows in below.items()}
    try:
        drawn = learning_figures(logs)
    except (AttributeError, TypeError, ValueError) as error:
        return absent(f"metrics.jsonl does not hold what this part needs ({type(error).__name__}: {error})")
    return join(drawn) if drawn else absent("none of the runs holds a metrics.jsonl")


def _loader(runs: Sequence[Run]) -> ImageLoader | None:
    loaders = (picture_loader(run.root, run.files.reasons, value_range_of_run(run.config)) for run in runs)
    return next((loader for loader in loaders if loader is not None), None)


def _wins(runs: Sequence[Run], plain: dict[str, Result], pictures: Pictures) -> Html:
    ranked: list[FirstPlaces | IvreidError] = [
        _places(run, plain[run.name]) for run in runs if run.name in plain
    ]
    if len(ranked) < 2:
        return absent("what each wins and loses: no two runs share a plain setting")
    return pairs_section(ranked, pictures)


def _places(run: Run, result: Result) -> FirstPlaces | IvreidError:
    """The run's first places; where they cannot be had, why."""
    try:
        embeddings = run.files.embeddings(result.protocol)
        if embeddings is None:
            return DataError(f"{run.name}: {run.files.reasons['embeddings']}")
        protocol = protocol_again(result.to_json(), run.root)
        return first_places(run.name, embeddings, protocol, str(result.options.get("metric", "cosine")))
    except IvreidError as error:
        return DataError(f"{run.name}: the protocol cannot be run again on features.npz: {error}")


def _paper(runs: Sequence[Run]) -> Html:
    parts = []
    for run in runs:
        sentence = paper_sentence(plainest(run.results).to_json(), run.files.environment())
        parts += [el("h3", run.name), el("blockquote", sentence, class_="copy", tabindex=0)]
    return join(parts)
