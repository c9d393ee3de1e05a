"""The arithmetic of differences: published numbers, and as seldom wrong as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from privlab.analysis.significance import difference, holm, seeds_needed, wilson


def test_holm_is_the_step_down_rule():
    # Holm 1979 by hand: sorted p times 4, 3, 2, 1, made monotone.
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, math.nan, 0.03])[[0, 2]].tolist() == pytest.approx([0.02, 0.03])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([]).tolist() == []


def test_no_difference_is_found_where_there_is_none_as_seldom_as_said():
    random = np.random.default_rng(1)
    rounds = 1500
    wrong = sum(
        difference(list(enumerate(random.normal(0, 1, 4))), [(9 + s, v) for s, v in enumerate(random.normal(0, 3, 6))]).p < 0.05
        for _ in range(rounds)
    )  # fmt: skip
    assert wrong / rounds < 0.05 + 4 * math.sqrt(0.05 * 0.95 / rounds)


@pytest.mark.parametrize("paired", [True, False])
def test_so_many_seeds_find_the_difference_as_often_as_said(paired):
    n = seeds_needed(0.8, 1.0, paired=paired)
    random, rounds = np.random.default_rng(2), 1500
    x, y = random.normal(0.8, 1, (rounds, n)), random.normal(0, 1, (rounds, n))
    p = stats.ttest_1samp(x, 0, axis=1).pvalue if paired else stats.ttest_ind(x, y, axis=1).pvalue
    assert abs((p < 0.05).mean() - 0.8) < 0.05


def test_known_numbers_of_seeds():
    # Cohen 1988, table 2.3.5: d = 0.5, two-sided α = 0.05, power 0.8 needs 64 a side.
    assert seeds_needed(0.5, 1.0, paired=False) == 64
    assert seeds_needed(0.5, 1.0, paired=True) == 34
    assert seeds_needed(0.001, 1.0, paired=False) is None and seeds_needed(0.0, 1.0, paired=True) is None


def test_wilson_is_the_published_interval():
    # Newcombe 1998, Stat. Med. 17, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20)[0] == 0.0 and wilson(1.0, 20)[1] == 1.0
    for share, records, named in ((1.1, 10, "share=1.1"), (0.5, 0, "records=0")):
        with pytest.raises(ValueError, match=named):
            wilson(share, records)
