"""A small chart kit: SVG coloured by the page, so that one drawing serves light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ivreid.report.html import Html, el, join

SERIES = 8
"""Distinct series colours in the style sheet; each also has its own dash pattern and marker."""
DASHES = (None, "7 3", "2 3", "9 3 2 3", "5 2 1 2 1 2", "12 4", "1 2", "4 4")


@dataclass(frozen=True)
class Scale:
    """One axis: its range, its labelled ticks, its name."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str

    def at(self, value: float) -> float:
        """Where the value lies, 0 at the low end and 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def _number(value: float, largest: float) -> str:
    """A tick's words, in the notation that suits the largest tick of its axis."""
    if value and largest < 1e-2:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if value and largest >= limit:
            return f"{value / (limit if letter == 'M' else 1e3):g}{letter}".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")


def linear(
    values: Iterable[float],
    label: str,
    *,
    zero: bool = False,
    unit: str = "",
    count: int = 5,
    tight: bool = False,
) -> Scale:
    """An axis over the finite values with ticks at 1, 2 or 5 times a power of ten, its ends widened to ticks.

    Args:
        values: What must fit on the axis.
        label: The axis's name.
        zero: Start at 0.
        unit: Written after every tick, e.g. "%".
        count: About how many ticks.
        tight: End at the last value instead of at the tick beyond it.
    """
    finite = [float(v) for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = (0.0 if zero else min(finite)), max(finite)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size or size < 1e-200:  # no width that doubles could divide into ticks
        high = low + (size if size > 1e-200 else 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    largest = max(abs(first), abs(last)) * step
    ticks = tuple((i * step, _number(i * step, largest) + unit) for i in range(first, last + 1))
    if tight:
        return Scale(first * step, high, tuple(t for t in ticks if t[0] <= high), label)
    return Scale(first * step, last * step, ticks, label)


def n(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


def mark(shape: int, x: float, y: float, size: float = 3.5) -> Html:
    """A marker centred at (x, y), told apart by shape: circle, square, triangle, diamond, then again."""
    r = size
    if shape % 4 == 0:
        return el("circle", cx=n(x), cy=n(y), r=r)
    outline = {
        1: ((-r, -r), (r, -r), (r, r), (-r, r)),
        2: ((0, -1.2 * r), (1.15 * r, 0.9 * r), (-1.15 * r, 0.9 * r)),
        3: ((0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)),
    }[shape % 4]
    return el("path", d="M" + "L".join(f"{n(x + dx)} {n(y + dy)}" for dx, dy in outline) + "Z")


class Plot:
    """One chart under construction; coordinates go in as data, marks come out in drawing order."""

    def __init__(self, x: Scale, y: Scale, *, width: int = 480, height: int = 300, left: int = 44) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.left, self.right, self.top, self.bottom = left, width - 14, 28, height - 38
        self._marks: list[Html] = []

    def px(self, value: float) -> float:
        """Horizontal position of a value."""
        return self.left + self.x.at(value) * (self.right - self.left)

    def py(self, value: float) -> float:
        """Vertical position of a value."""
        return self.bottom - self.y.at(value) * (self.bottom - self.top)

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        out, pen_up = [], True
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                out.append(f"{'M' if pen_up else 'L'}{n(self.px(x))} {n(self.py(y))}")
                pen_up = False
            else:
                pen_up = True  # a gap in the data is a gap in the line
        return "".join(out)

    def line(self, xs: Sequence[float], ys: Sequence[float], series: int, *, dash: bool = True) -> None:
        """A line through the points; missing values leave gaps."""
        pattern = DASHES[series % SERIES] if dash else None
        self._marks.append(
            el("path", d=self._path(xs, ys), class_=f"line c{series % SERIES}", stroke_dasharray=pattern)
        )

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], series: int) -> None:
        """A shaded band between two curves."""
        there, back = self._path(xs, high), self._path(list(xs)[::-1], list(low)[::-1]).replace("M", "L")
        if there:
            self._marks.append(el("path", d=f"{there}{back}Z", class_=f"band c{series % SERIES}"))

    def steps(self, edges: Sequence[float], heights: Sequence[float], series: int) -> None:
        """A histogram's outline, filled."""
        xs = [x for x in edges for _ in range(2)]
        ys = [0.0, *(h for h in heights for _ in range(2)), 0.0]
        path = self._path(xs, ys)
        self._marks.append(el("path", d=f"{path}Z", class_=f"band c{series % SERIES}"))
        self._marks.append(
            el("path", d=path, class_=f"line c{series % SERIES}", stroke_dasharray=DASHES[series % SERIES])
        )

    def dot(
        self,
        x: float,
        y: float,
        series: int,
        *,
        shape: int = 0,
        size: float = 3.5,
        hollow: bool = False,
        hint: str = "",
        image: int | None = None,
    ) -> None:
        """One marker, with a hint shown when it is pointed at, and the number of the image it stands for."""
        symbol = mark(shape, self.px(x), self.py(y), size)
        title = el("title", hint) if hint else None
        self._marks.append(
            el(
                "g",
                title,
                symbol,
                class_=f"dot{' hollow' if hollow else ''} c{series % SERIES}",
                data_image=image,
            )
        )

    def rule(self, x: float, label: str, line: int = 0) -> None:
        """A vertical mark with words beside it, in a line of their own where there are several."""
        at = self.px(x)
        anchor, shift = ("end", -4) if at > (self.left + self.right) / 2 else ("start", 4)
        self._marks.append(el("path", d=f"M{n(at)} {self.top}V{self.bottom}", class_="rule"))
        self._marks.append(
            el("text", label, x=n(at + shift), y=self.top + 10 + 15 * line, text_anchor=anchor, class_="note")
        )

    def link(self, x0: float, y0: float, x1: float, y1: float, series: int) -> None:
        """A straight link between two places."""
        d = f"M{n(self.px(x0))} {n(self.py(y0))}L{n(self.px(x1))} {n(self.py(y1))}"
        self._marks.append(el("path", d=d, class_=f"line c{series % SERIES}"))

    def label(self, x: float, y: float, words: str, *, anchor: str = "middle", dy: float = 0) -> None:
        """Words at a place, with a halo so that they stay readable over marks."""
        attributes = {"x": n(self.px(x)), "y": n(self.py(y) + dy), "text_anchor": anchor, "class_": "note"}
        self._marks.append(el("text", words, **attributes))

    def _axes(self) -> Html:
        parts = []
        for value, words in self.y.ticks:
            y = n(self.py(value))
            parts.append(el("path", d=f"M{self.left} {y}H{self.right}", class_="grid"))
            parts.append(el("text", words, x=self.left - 7, y=y, dy="0.34em", text_anchor="end"))
        for value, words in self.x.ticks:
            x = n(self.px(value))
            parts.append(el("path", d=f"M{x} {self.bottom}v4", class_="axis"))
            parts.append(el("text", words, x=x, y=self.bottom + 17, text_anchor="middle"))
        parts.append(el("path", d=f"M{self.left} {self.bottom}H{self.right}", class_="axis"))
        middle = (self.left + self.right) / 2
        parts.append(
            el("text", self.x.label, x=n(middle), y=self.height - 4, text_anchor="middle", class_="name")
        )
        parts.append(el("text", self.y.label, x=4, y=14, class_="name"))
        return join(parts)

    def svg(self, description: str, *, pictures: bool = False) -> Html:
        """The finished chart; the description is what a screen reader says in its place.

        With `pictures`, its markers can be walked through with the arrow keys.
        """
        view = f"0 0 {self.width} {self.height}"
        return el(
            "svg",
            self._axes(),
            *self._marks,
            viewBox=view,
            role="img",
            aria_label=description,
            class_="chart pictured" if pictures else "chart",
            tabindex=0 if pictures else None,
        )


def legend(entries: Iterable[tuple[str, int | None, str]]) -> Html:
    """A legend under a chart.

    Args:
        entries: (words, series, kind): kind is "line", "area", "dot", "triangle" or "hollow" (triangle);
            series None is the colour of the text, for a shape that means the same in every colour.
    """
    items = []
    for words, series, kind in entries:
        colour = "ink" if series is None else f"c{series % SERIES}"
        dash = DASHES[(series or 0) % SERIES]
        if kind == "line":
            sample = el("path", d="M1 6H29", class_=f"line {colour}", stroke_dasharray=dash)
        elif kind == "area":
            outline = el("path", d="M2 10.5V2H28V10.5", class_=f"line {colour}", stroke_dasharray=dash)
            sample = join([el("path", d="M2 10.5V2H28V10.5Z", class_=f"band {colour}"), outline])
        else:
            hollow = " hollow" if kind == "hollow" else ""
            sample = el("g", mark(0 if kind == "dot" else 2, 15, 6, 4), class_=f"dot{hollow} {colour}")
        items.append(el("li", el("svg", sample, viewBox="0 0 30 12", aria_hidden="true"), words))
    return el("ul", *items, class_="legend")
