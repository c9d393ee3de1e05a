"""The pictures of the Budget page: accountants, settings of equal ε, and the attacker's trade-off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privlab.charts.accountants import Bar, Standing, bars_figure
from privlab.charts.iso import iso_figure
from privlab.charts.tradeoff import LEAST_RATE, Marked, pair_curve, trade_off_figure
from privlab.metrics import Release

RATES = np.array([0.0, 1e-6, 1e-3, 0.1, 0.5, 1.0])


def test_the_pair_alone_allows_what_its_definition_says():
    found = pair_curve(1.0, 1e-5, RATES)
    assert found[0] == pytest.approx(1e-5)
    assert found[2] == pytest.approx(math.e * 1e-3 + 1e-5)
    assert found[4] == pytest.approx(1 - math.exp(-1) * (0.5 - 1e-5))
    assert found[-1] == 1
    assert pair_curve(5000.0, 1e-5, RATES)[1] == 1


def test_the_trade_off_shows_coin_flip_pair_and_marks():
    figure = trade_off_figure(RATES, np.sqrt(RATES), pair=(1.0, 1e-5), marks=[Marked(0.1, 0.3, "largest advantage")])
    assert [trace.name for trace in figure.data[:3]] == ["what (ε, δ) alone would allow", "this training", "coin flip"]
    assert list(figure.data[2].x) == list(figure.data[2].y) == list(RATES)
    assert figure.data[3].text == ("largest advantage",)
    assert figure.layout.title.subtitle.text == Release.RELEASED.value


def test_logarithmic_axes_begin_at_the_least_rate():
    figure = trade_off_figure(RATES, np.sqrt(RATES), log=True)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert min(figure.data[0].x) >= LEAST_RATE


def test_equal_epsilon_marks_the_present_point_in_both_halves():
    figure = iso_figure([10, 100], [0.5, math.nan], [100, 10], epsilon=3.0, x_title="Batch size B", at=(10, 0.5, 100))
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y", "y2"]
    assert (figure.data[2].x[0], figure.data[2].y[0], figure.data[3].y[0]) == (10, 0.5, 100)
    assert figure.layout.title.text == "Settings that all spend ε = 3"
    assert figure.layout.title.subtitle.text == Release.RELEASED.value


def test_a_value_that_is_no_upper_bound_is_hatched():
    bars = [Bar("PLD", 2.0, Standing.CLAIM), Bar("CLT", 1.0, Standing.TRAP), Bar("σ < C", math.inf, Standing.FLOOR)]
    figure = bars_figure("ε", bars)
    assert [trace.marker.pattern.shape for trace in figure.data] == [None, "/", "/"]
    assert [trace.text[0] for trace in figure.data] == ["2", "1", "∞"]
    assert figure.data[2].x[0] > 2.0
    assert figure.data[2].y == ("σ &lt; C",)


@pytest.mark.parametrize(
    "draw",
    [lambda: trade_off_figure([0, 1], [1]), lambda: iso_figure([1, 2], [1.0], [1], epsilon=1.0, x_title="B")],
)
def test_sequences_must_be_equally_many(draw):
    with pytest.raises(ValueError, match="equally many"):
        draw()
