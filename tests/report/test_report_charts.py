"""Axes, lines and curves: they hold the data, and missing values leave gaps."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import metrics

from ivreid.report.svg import Plot, Scale, linear
from ivreid.report.training_curves import thin, training_figures

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=20), st.booleans())
def test_an_axis_holds_its_values_at_round_ticks(values, zero):
    values = [abs(v) for v in values] if zero else values
    scale = linear(values, "x", zero=zero)
    spare = 1e-6 * (scale.high - scale.low)
    assert scale.low - spare <= min(values)
    assert max(values) <= scale.high + spare
    assert scale.low < scale.high
    at = [t for t, _ in scale.ticks]
    assert 2 <= len(at) <= 9
    step = at[1] - at[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - round_step) for round_step in (1, 2, 2.5, 5, 10)) < 1e-5
    if zero:
        assert scale.low == 0


@given(st.floats(1e-7, 1e9), st.integers(2, 6))
def test_tick_words_are_the_numbers_they_stand_at(top, count):
    scale = linear([0, top], "x", zero=True, count=count)
    factor = {"k": 1e3, "M": 1e6}
    for value, words in scale.ticks:
        plain = words.replace("−", "-")
        read = float(plain.rstrip("kM")) * factor.get(plain[-1], 1)
        assert read == pytest.approx(value, rel=0.01, abs=1e-12)


def test_a_tight_axis_ends_at_the_last_value():
    scale = linear([0, 905], "Step", zero=True, tight=True)
    assert scale.high == 905
    assert [words for _, words in scale.ticks] == ["0", "200", "400", "600", "800"]


@pytest.mark.parametrize("values", [[], [math.nan], [3.0], [0.0], [math.inf, 1.0]])
def test_an_axis_exists_for_degenerate_values(values):
    assert linear(values, "x").high > linear(values, "x").low


def test_a_missing_value_breaks_the_line():
    plot = Plot(Scale(0, 4, (), ""), Scale(0, 1, (), ""))
    plot.line([0, 1, 2, 3, 4], [0.0, 1.0, math.nan, 1.0, 0.0], 0)
    (path,) = re.findall(r'd="([^"]+)" class="line', plot.svg("x"))
    assert re.findall("[ML]", path) == ["M", "L", "M", "L"]


def test_coordinates_go_up_where_values_do():
    plot = Plot(Scale(0, 10, (), ""), Scale(0, 10, (), ""))
    assert plot.py(7) < plot.py(3)
    assert plot.px(7) > plot.px(3)
    assert (plot.px(0), plot.px(10)) == (plot.left, plot.right)


@given(st.lists(FINITE, min_size=1, max_size=500), st.integers(1, 200))
def test_thinning_keeps_the_weighted_mean(values, points):
    runs = np.array_split(np.array(values), min(points, len(values)))
    thinned = thin(values, points)
    assert len(thinned) == min(points, len(values))
    total = sum(mean * len(run) for mean, run in zip(thinned, runs, strict=True))
    assert total == pytest.approx(sum(values), rel=1e-6, abs=1e-3)


def test_thinning_skips_missing_values():
    assert thin([1.0, math.nan, math.nan, math.nan], 2)[0] == 1.0
    assert math.isnan(thin([1.0, math.nan, math.nan, math.nan], 2)[1])


def test_every_loss_term_and_figure_is_in_the_legend():
    page = "".join(training_figures(metrics()))
    for name in ("total", "identity", "modality", "mutual", "triplet", "Rank-1", "mAP", "mINP"):
        assert re.search(rf"<li><svg.*?</svg>{name} \(", page), name
    for name in ("Learning rate", "Gradient norm", "Images per second", "waiting for data"):
        assert name in page


def test_of_two_rows_with_one_step_the_later_counts():
    rows = [{"kind": "validation", "step": 5, "epoch": 1, "rank1": value, "mAP": 0.1} for value in (0.9, 0.2)]
    assert "Rank-1 (best 20.0%)" in "".join(training_figures(rows))


def test_rows_in_any_order_and_with_gaps_draw_the_same():
    rows = metrics(60, 20)
    assert training_figures(rows[::-1]) == training_figures(rows)
    bare = [{"kind": "step", "step": i, "epoch": 1, "loss": None, "terms": {}} for i in range(3)]
    assert "no finite value" in "".join(training_figures(bare))
    assert training_figures([{"kind": "else"}, {}]) == []


def test_rates_by_parameter_group_show_the_fastest():
    rows = [{"kind": "step", "step": i, "loss": 1.0, "rates": {"a": 1e-4, "b": 1e-3}} for i in range(3)]
    assert "from 0.001 to 0.001" in "".join(training_figures(rows))


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ("validation", "not seen"),
        ("published-test", "optimistic"),
        ("last", "last epoch"),
        (None, "along the way"),
    ],
)
def test_the_validation_caption_says_who_chose_the_checkpoint(selection, words):
    assert words in "".join(training_figures(metrics(), selection))
