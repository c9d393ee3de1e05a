"""How likely a guarantee lets a model give a planted code away."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from scipy.stats import norm

from privlab.privacy import PrivacyPlan
from privlab.privacy.recitation import recited_at_most

PLAN = PrivacyPlan(4128, 128, 258, 1.1, 0.5, 1e-5)


@pytest.mark.parametrize("repeats", [1, 2, 5])
@pytest.mark.parametrize("codes", [1000, 10**6])
def test_one_step_on_all_records_is_the_gaussian_trade_off(codes: int, repeats: int) -> None:
    # Dong, Roth and Su 2022, definition 2.6: the Gaussian trade-off; k records move the sum k times as far.
    plan = PrivacyPlan(100, 100, 1, 2.0, 1.0, 1e-5)
    exact = norm.cdf(norm.ppf(1 / codes) + repeats / 2.0)
    found = recited_at_most(plan, codes, repeats)
    assert exact <= found <= 1.01 * exact


@pytest.mark.parametrize("adjacency", ["add-or-remove-one", "replace-one"])
def test_more_records_give_more_away_and_more_codes_less(adjacency: str) -> None:
    plan = replace(PLAN, adjacency=adjacency)
    grid = [[recited_at_most(plan, codes, repeats) for codes in (10**14, 10**6, 1024)] for repeats in (1, 3, 9)]
    for row in grid:
        assert 0 < row[0] < row[1] < row[2] <= 1
    for fewer, more in pairwise(grid):
        assert all(a < b for a, b in zip(fewer, more, strict=True))
    # No guess is worse than chance, and one record's bound is within that of the (ε, δ) pair.
    assert grid[0][2] > 1 / 1024
    assert grid[0][2] <= math.exp(plan.epsilon) / 1024 + plan.delta


def test_without_a_guarantee_nothing_is_limited() -> None:
    assert recited_at_most(PrivacyPlan(4128, 128, 258, 0.0, None, 1e-5), 10**14, 1) == 1.0


def test_rounded_noise_costs_a_little_and_ends_where_its_proof_does() -> None:
    rounded = replace(PLAN, rounded=True, dimension=10**6)
    assert recited_at_most(PLAN, 1024, 3) < recited_at_most(rounded, 1024, 3) < recited_at_most(PLAN, 1024, 3) * 1.01
    assert recited_at_most(rounded, 10**14, 100) == 1.0


@pytest.mark.parametrize(("codes", "repeats"), [(0, 1), (10, 0)])
def test_counts_below_one_are_refused(codes: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        recited_at_most(PLAN, codes, repeats)
