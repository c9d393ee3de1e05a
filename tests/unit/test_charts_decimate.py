"""Thinning keeps what an eye would miss."""

from __future__ import annotations

import numpy as np
import pytest

from privlab.charts.decimate import decimate

RNG = np.random.default_rng(5)


def test_a_short_line_is_kept_whole():
    assert decimate([np.zeros(2000)]).tolist() == list(range(2000))
    assert decimate([np.zeros(0)]).size == 0


@pytest.mark.parametrize("n", [2001, 4000, 10_007, 250_000])
def test_at_most_the_limit_with_first_last_and_extremes(n):
    values = RNG.normal(size=n)
    values[n // 3], values[n // 2] = 50, -50
    rows = decimate([values])
    assert len(rows) <= 2000
    assert (np.diff(rows) > 0).all()
    assert {0, n - 1, n // 3, n // 2} <= set(rows.tolist())


def test_every_stretch_keeps_its_least_and_greatest():
    values = RNG.normal(size=10_000)
    kept = set(decimate([values], limit=202).tolist())
    for stretch in np.array_split(np.arange(10_000), 100):
        assert stretch[values[stretch].argmin()] in kept
        assert stretch[values[stretch].argmax()] in kept


def test_several_lines_share_rows_and_keep_the_extremes_of_each():
    a, b = RNG.normal(size=(2, 9000))
    a[1234], b[4321] = 99, -99
    rows = decimate([a, b], limit=400)
    assert len(rows) <= 400
    assert {1234, 4321} <= set(rows.tolist())


def test_gaps_are_never_extremes():
    values = RNG.normal(size=9000)
    values[::2] = np.nan
    rows = decimate([values], limit=400)
    assert np.isfinite(values[rows[1:-1]]).all()


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"lengths \[1, 2\]"):
        decimate([np.zeros(1), np.zeros(2)])
    with pytest.raises(ValueError, match="limit=3"):
        decimate([np.zeros(9)], limit=3)
