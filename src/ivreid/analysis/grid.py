"""A table on its way to a terminal, a paper or a spreadsheet: cells as text, and the three written forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ivreid.io import csv_text


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        detail: Its spread or interval, smaller beside it or below it.
        bold: Whether it is the best of those it may be compared with.
        parts: (suffix of the heading, text) for each column that a CSV has for it; empty: its text alone.
    """

    text: str
    detail: str = ""
    bold: bool = False
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Block:
    """Rows that may be compared with one another, under a heading of their own where there are several blocks.

    Attributes:
        heading: What the rows share and other blocks do not; may be empty.
        rows: Each with a cell for every column.
    """

    heading: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: What all rows share, a sentence each.
        head: Names of the columns; the first names the rows.
        blocks: The rows.
        notes: What a reader must know, below the table.
    """

    caption: tuple[str, ...]
    head: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def to_markdown(grids: Sequence[Grid]) -> str:
    """The tables as Markdown, each with its caption above and its notes below."""
    return "\n\n".join(_markdown(grid) for grid in grids) + "\n"


def _markdown(grid: Grid) -> str:
    lines = [" ".join(_md(words) for words in grid.caption), ""] if grid.caption else []
    lines += [_md_row(map(_md, grid.head)), "|---|" + "--:|" * (len(grid.head) - 1)]
    for block in grid.blocks:
        if block.heading:
            lines.append(_md_row([f"*{_md(block.heading)}*", *[""] * (len(grid.head) - 1)]))
        lines += [_md_row(map(_md_cell, row)) for row in block.rows]
    lines += ["", *(f"- {_md(note)}" for note in grid.notes)] if grid.notes else []
    return "\n".join(lines)


def _md_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md_cell(cell: Cell) -> str:
    text = f"**{_md(cell.text)}**" if cell.bold else _md(cell.text)
    return f"{text} {_md(cell.detail)}" if cell.detail else text


def _md(text: str) -> str:
    plain = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#" else letter for letter in plain)


_TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"±": r"$\pm$", "×": r"$\times$", "–": "--", "<": "$<$", ">": "$>$", "|": "$|$"},
}


def to_latex(grids: Sequence[Grid]) -> str:
    """The tables as LaTeX `table` environments; the document needs the package booktabs."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(grid) for grid in grids)


def _latex(grid: Grid) -> str:
    caption = " ".join(_tex(words) for words in (*grid.caption, *_sentences(grid.notes)))
    width = len(grid.head)
    lines = [r"\begin{table}", r"\centering", f"\\caption{{{caption}}}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule", _tex_row(map(_tex, grid.head))]
    for block in grid.blocks:
        lines.append(r"\midrule")
        if block.heading:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{_tex(block.heading)}}}}} \\\\")
        lines += [_tex_row(map(_tex_cell, row)) for row in block.rows]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _sentences(notes: Sequence[str]) -> list[str]:
    return [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes]


def _tex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _tex_cell(cell: Cell) -> str:
    text = f"\\textbf{{{_tex(cell.text)}}}" if cell.bold else _tex(cell.text)
    return f"{text} {{\\scriptsize {_tex(cell.detail)}}}" if cell.detail else text


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))


def to_csv(grids: Sequence[Grid]) -> str:
    """The tables as one CSV: a line a row, with the caption and the heading of its block in columns of their own."""
    lines = [line for grid in grids for line in _csv_lines(grid)]
    names = list(dict.fromkeys(name for line in lines for name in line))
    return csv_text([names, *([line.get(name, "") for name in names] for line in lines)])


def _csv_lines(grid: Grid) -> Iterable[dict[str, str]]:
    for block in grid.blocks:
        for row in block.rows:
            line = {"table": " ".join(grid.caption), "block": block.heading}
            for name, cell in zip(grid.head, row, strict=True):
                for suffix, text in cell.parts or (("", cell.text),):
                    line[f"{name} {suffix}".strip()] = text
            yield line


FORMS: dict[str, Callable[[Sequence[Grid]], str]] = {
    "latex": to_latex,
    "markdown": to_markdown,
    "csv": to_csv,
}
"""Written forms of tables, by name."""
