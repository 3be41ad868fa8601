"""`ivreid methods`: what there is, what it costs, what was published about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.options import Plugins

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.methods import Method
    from ivreid.methods.publication import PublishedFigures

WIDEST = 150
"""Columns of the list where the output is no terminal."""


def run(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this method's page instead of the list.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """List the methods, or print the page of one: network, losses, options, recipe, figures, citation.

    Figures are those of the authors, in percent; nobody measured them here. Plain ones and those of re-ranked
    or transductive tests, which use other test images, stand in columns of their own.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.methods import METHODS, get_method

    console = Terminal()
    if name is None:
        _list(Terminal(wrap=True, width=None if console.is_terminal else WIDEST), list(METHODS.values()))
        console.print("next: ivreid methods NAME, ivreid train --recipe NAME --dataset sysu-mm01 --data ROOT")
    else:
        _page(console, get_method(name))


def _list(console: Terminal, kinds: list[type[Method]]) -> None:
    from rich.table import Table

    from ivreid.methods.describe import measure_cost

    table = Table(pad_edge=False)
    for column in ("method", "paper"):
        table.add_column(column)
    for column in (
        *("embedding", "parameters", "GMAC", "images a step"),
        *("SYSU all R1/mAP", "RegDB R1/mAP", "LLCM R1/mAP", "with other test images"),
    ):
        table.add_column(column, justify="right")
    table.add_column("code")
    for kind in kinds:
        cost, paper = measure_cost(kind.name), kind.publication
        figures = paper.figures if paper else ()
        table.add_row(
            kind.name,
            (paper.short if paper else "ours") + (", experimental" if kind.experimental else ""),
            str(cost.embedding_dim),
            f"{cost.parameters / 1e6:.1f} M",
            f"{cost.gmac:.1f}",
            str(cost.batch),
            *(_first(figures, dataset, "plain") for dataset in ("sysu-mm01", "regdb", "llcm")),
            _first(figures, "sysu-mm01", "other"),
            paper.licence if paper else "MIT",
        )
    console.print(table)


def _first(figures: tuple[PublishedFigures, ...], dataset: str, kind: str) -> str:
    fitting = [f for f in figures if f.dataset == dataset and (f.kind == "plain") == (kind == "plain")]
    if not fitting:
        return "-"
    first = fitting[0]
    return f"{first.rank1:.1f}/{first.mean_ap:.1f}" + ("" if first.kind == "plain" else f" {first.kind}")


def _page(console: Terminal, kind: type[Method]) -> None:
    import inspect

    import yaml

    from ivreid.methods.describe import measure_cost

    text = inspect.getdoc(inspect.getmodule(kind)) or kind.__doc__ or ""
    cost = measure_cost(kind.name)
    console.rule(kind.name, align="left")
    console.print(text)
    console.print(
        f"\nEmbedding {cost.embedding_dim} numbers, {cost.parameters / 1e6:.1f} M parameters, {cost.gmac:.1f} GMAC "
        f"an image of {cost.size[0]}x{cost.size[1]}, {cost.batch} images a training step.",
    )
    console.rule("options (method: ...)", align="left", characters="-")
    for key, info in kind.Settings.model_fields.items():
        console.print(f"{key} = {info.default!r}  {info.description or ''}")
    if kind.recipe is not None:
        console.rule(f"recipe: {kind.name}", align="left", characters="-")
        console.print(yaml.safe_dump(dict(kind.recipe.on("sysu-mm01")), sort_keys=False))
        for dataset, values in kind.recipe.datasets.items():
            if values:
                console.print(f"on {dataset}: {yaml.safe_dump(dict(values)).strip()}")
    paper = kind.publication
    if paper is None:
        return
    console.rule("published, not measured here", align="left", characters="-")
    for one in paper.figures:
        inp = "" if one.mean_inp is None else f", mINP {one.mean_inp:.1f}"
        draw = (f", draw {one.draw}" if one.draw else "") + (f", {one.rerank}" if one.rerank else "")
        console.print(
            f"{one.dataset}, {one.setting}: Rank-1 {one.rank1:.1f}, mAP {one.mean_ap:.1f}{inp} ({one.kind}; from "
            f"{one.source}{draw})",
        )
    for remark in paper.remarks:
        console.print(remark)
    console.print(f"code: {paper.code}, licence: {paper.licence}\n\n{paper.bibtex}")
