"""`ivreid methods`: what there is, what it costs, what was published about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ivreid.cli.methods_text import BELOW, cells, table_or_blocks
from ivreid.cli.options import Plugins

if TYPE_CHECKING:
    from ivreid.cli.terminal import Terminal
    from ivreid.methods import Method

WIDEST = 160
"""Columns of the list where the output is no terminal and COLUMNS says nothing."""


def run(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this method's page instead of the list.")
    ] = None,
    plugins: Plugins = None,
) -> None:
    """List the methods, or print the page of one: network, losses, what is verified, options, recipe, figures.

    Figures are those of the authors, in percent; nobody measured them here. A column's title says their protocol.
    Those of re-ranked or transductive tests, which use other test images, stand in a column of their own.
    """
    from ivreid.cli.terminal import Terminal
    from ivreid.methods import METHODS, get_method

    console = Terminal()
    if name is None:
        _list(Terminal(wrap=True, width=_width(console)), list(METHODS.values()))
        console.print("next: ivreid methods NAME, ivreid train --recipe NAME --dataset sysu-mm01 --data ROOT")
    else:
        _page(console, get_method(name))


def _width(console: Terminal) -> int | None:
    """Of the list: the terminal's, or what COLUMNS says; None leaves that to rich."""
    return None if console.is_terminal or os.environ.get("COLUMNS", "").strip("0").isdigit() else WIDEST


def _list(console: Terminal, kinds: list[type[Method]]) -> None:
    for part in table_or_blocks(console, [cells(kind) for kind in kinds]):
        console.print(part)
    console.print(BELOW)


def _page(console: Terminal, kind: type[Method]) -> None:
    import inspect

    import yaml

    from ivreid.methods.describe import method_cost

    text = inspect.getdoc(inspect.getmodule(kind)) or kind.__doc__ or ""
    cost = method_cost(kind.name)
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
        if kind.recipe.transformer:
            console.print(f"with a transformer: {yaml.safe_dump(dict(kind.recipe.transformer)).strip()}")
    console.rule("published, not measured here", align="left", characters="-")
    paper = kind.publication
    if paper is None:
        console.print("Nothing was published about it, as far as its file says.")
        return
    for one in paper.figures:
        inp = "" if one.mean_inp is None else f", mINP {one.mean_inp:g}"
        how = (f"draw {one.draw}" if one.draw else "", f"split {one.split}" if one.split else "", one.rerank)
        where = "; ".join((one.kind, f"from {one.source}", *filter(None, how)))
        console.print(
            f"{one.dataset}, {one.setting}: Rank-1 {one.rank1:g}, mAP {one.mean_ap:g}{inp} ({where})"
        )
    for remark in paper.remarks:
        console.print(remark)
    console.print(f"code: {paper.code}, licence: {paper.licence}\n\n{paper.bibtex}")
