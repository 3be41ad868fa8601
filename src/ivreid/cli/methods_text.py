"""Published figures in the cells of a table, each under its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivreid.methods import Method
    from ivreid.methods.publication import PublishedFigures

COLUMNS = {
    "sysu-mm01": ("all-search, single-shot", "SYSU all-search,\nsingle-shot\nR1/mAP"),
    "regdb": ("visible-to-infrared", "RegDB visible\nto infrared\nR1/mAP"),
    "llcm": ("infrared-to-visible", "LLCM infrared\nto visible\nR1/mAP"),
}
"""By dataset: the setting that has a column, as `PublishedFigures` spells it, and the column's title."""

LETTERS = {
    "visible-to-infrared": "V>I",
    "infrared-to-visible": "I>V",
    "indoor-search, single-shot": "indoor",
}
"""Settings in a cell whose column says another one; the line below the list explains them."""

BELOW = (
    "R1/mAP in percent are the authors' figures; nobody measured them here. V>I, I>V: query > gallery, V visible, I "
    "infrared; indoor: SYSU's indoor-search; each where a method has no figures of the column's setting. split N: of that "
    "split alone, not the mean over all. Figures with the help of other test images compare with no others."
)


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
