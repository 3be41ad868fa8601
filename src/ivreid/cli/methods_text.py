"""Published figures in the cells of a table, each under its protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, RenderableType
    from rich.table import Table

    from ivreid.methods import Method
    from ivreid.methods.publication import PublishedFigures

COLUMNS = {
    "sysu-mm01": ("all-search, single-shot", "SYSU all-search,\nsingle-shot\nR1/mAP"),
    "regdb": ("visible-to-infrared", "RegDB visible\nto infrared\nR1/mAP"),
    "llcm": ("infrared-to-visible", "LLCM infrared\nto visible\nR1/mAP"),
}
"""By dataset: the setting that has a column, as `PublishedFigures` spells it, and the column's title."""

HEADS = (
    *("method", "paper", "embedding", "parameters", "GMAC", "images\na step"),
    *(title for _, title in COLUMNS.values()),
    *("with other\ntest images", "code"),
)
WORDS = ("method", "paper", "code")
"""Columns that are no figures."""
BROKEN, BROKEN_AT = ("paper", "with other\ntest images"), 17
"""Columns whose cells may be broken at a space, and how wide they are then; names and figures never are."""

LETTERS = {
    "visible-to-infrared": "V>I",
    "infrared-to-visible": "I>V",
    "indoor-search, single-shot": "indoor",
}
"""Settings in a cell whose column says another one."""

BELOW = (
    "R1/mAP in percent are the authors' figures; nobody measured them here. A setting in brackets stands where a method "
    "has no figures of the one above (V>I, I>V: query > gallery, V visible, I infrared). split N: of that split alone, not "
    "the mean over all. Figures with the help of other test images compare with no others."
)


def table_or_blocks(console: Console, rows: Sequence[Sequence[str]]) -> Iterator[RenderableType]:
    """One table where it is wide enough for whole cells, else a block of lines for each row: no figure is ever cut."""
    from rich.measure import Measurement
    from rich.text import Text

    table = _table(rows)
    free = console.options.update_width(sys.maxsize)
    if Measurement.get(console, free, table).maximum <= console.width:
        yield table
    else:
        yield from (Text(_block(row), overflow="fold") for row in rows)


def cells(kind: type[Method]) -> list[str]:
    """A row of the list, in the order of `HEADS`."""
    from ivreid.methods.describe import method_cost

    cost = method_cost(kind.name)
    figures = kind.publication.figures if kind.publication else ()
    paper, licence = whose(kind)
    return [
        kind.name,
        paper + (", experimental" if kind.experimental else ""),
        str(cost.embedding_dim),
        f"{cost.parameters / 1e6:.1f} M",
        f"{cost.gmac:.1f}",
        str(cost.batch),
        *(plain_figures(figures, dataset) for dataset in COLUMNS),
        figures_with_other_images(figures),
        licence,
    ]


def _table(rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(pad_edge=False)
    for head in HEADS:
        sides: JustifyMethod = "left" if head in WORDS else "right"
        widest = BROKEN_AT if head in BROKEN else None
        table.add_column(head, justify=sides, max_width=widest, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _block(row: Sequence[str]) -> str:
    """A row as lines; what is absent is left out."""
    name, paper, embedding, parameters, gmac, batch, *figures, code = row
    lines = [
        f"{name}: {paper}; code: {code}",
        f"embedding {embedding}, {parameters} parameters, {gmac} GMAC, {batch} images a step",
        *(
            f"{' '.join(head.split())} {' '.join(cell.split())}"
            for head, cell in zip(HEADS[6:], figures, strict=False)
            if cell != "-"
        ),
    ]
    return "\n  ".join(lines) + "\n"


def whose(kind: type[Method]) -> tuple[str, str]:
    """The paper in a few words, and the licence of its code; of a plugin's method without one nobody knows."""
    from ivreid.methods import METHODS

    if kind.publication:
        return kind.publication.short, kind.publication.licence
    return ("ours", "MIT") if METHODS.origin(kind.name) is None else ("-", "-")


def plain_figures(figures: tuple[PublishedFigures, ...], dataset: str) -> str:
    """The first plain figures of the column's setting; where there are none, the first of another one."""
    plain = [one for one in figures if one.dataset == dataset and one.kind == "plain"]
    fitting = [one for one in plain if one.setting == COLUMNS[dataset][0]] or plain
    return figures_of(fitting[0]) if fitting else "-"


def figures_with_other_images(figures: tuple[PublishedFigures, ...]) -> str:
    """All figures that are not plain, one below the other."""
    short = {dataset: title.split()[0] for dataset, (_, title) in COLUMNS.items()}
    lines = [
        f"{short.get(one.dataset, one.dataset)} {figures_of(one)}" for one in figures if one.kind != "plain"
    ]
    return "\n".join(lines) or "-"


def figures_of(one: PublishedFigures) -> str:
    """Both figures as published, and what the column's title does not say of them."""
    column, _ = COLUMNS.get(one.dataset, ("", ""))
    marks = [] if one.kind == "plain" else [str(one.kind)]
    marks += [] if one.setting == column else [LETTERS.get(one.setting, one.setting)]
    marks += [] if one.split is None else [f"split {one.split}"]
    return f"{one.rank1:g}/{one.mean_ap:g}" + (f" ({', '.join(marks)})" if marks else "")
