"""What noise in shares promises: to outsiders, to owners who pool what they know, and what rounding before the sum costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from privlab.config.schedule import Schedule
from privlab.privacy.accounting import epsilon, epsilon_of
from privlab.privacy.owners import epsilon_against, epsilon_alone, left_of_noise, share_on_grid
from privlab.privacy.phases import Phase
from privlab.privacy.plan import PrivacyPlan

FIVE = PrivacyPlan(
    records=1442, batch_size=100, steps=200, noise_multiplier=2.0, max_grad_norm=0.5, delta=1e-4, owners=5
)
TOLERANT = replace(FIVE, dropouts=2)


def test_outsiders_get_the_guarantee_of_the_plan() -> None:
    assert epsilon_against(FIVE, 0, 200) == pytest.approx(FIVE.epsilon, abs=1e-3) == epsilon_against(TOLERANT, 0, 200)


def test_steps_that_owners_saw_twice_are_counted_at_their_weakest() -> None:
    once, more = epsilon_against(FIVE, 1, 200), epsilon_against(FIVE, 1, 200, repeated=20)
    assert more == pytest.approx(epsilon_against(FIVE, 1, 220), rel=1e-6) and more > once
    changing = replace(FIVE, noise_schedule=Schedule("custom", custom=((1, 1.0), (101, 0.5))))
    worst = epsilon_of([Phase(100 / 1442, 2.0, 100), Phase(100 / 1442, 1.0, 120)], 1e-4)
    assert epsilon_against(changing, 0, 200, repeated=20) == pytest.approx(worst, rel=1e-6)
    assert epsilon_alone(FIVE, 200, repeated=5) > epsilon_alone(FIVE, 200)


@pytest.mark.parametrize(
    ("plan", "colluding", "sigma", "golden"),
    [
        (FIVE, 1, 2 * math.sqrt(4 / 5), 2.2032),
        (FIVE, 4, 2 / math.sqrt(5), 7.1644),
        (TOLERANT, 1, 2 * math.sqrt(2 / 3), 2.5121),
        (TOLERANT, 2, 2 / math.sqrt(3), 4.3839),
    ],
)
def test_what_owners_know_is_taken_off_the_noise(plan, colluding: int, sigma: float, golden: float) -> None:
    found = epsilon_against(plan, colluding, 200)
    assert found == pytest.approx(epsilon(100 / 1442, sigma, 200, 1e-4), rel=1e-3)
    assert found == pytest.approx(golden, abs=1e-3)


def test_more_colluders_cost_more_until_nothing_is_sure() -> None:
    costs = [epsilon_against(FIVE, k, 200) for k in range(5)]
    assert costs == sorted(costs) and len(set(costs)) == 5
    assert epsilon_alone(FIVE, 200) == costs[-1]
    assert epsilon_against(TOLERANT, 3, 200) == epsilon_against(TOLERANT, 4, 200) == math.inf
    assert [left_of_noise(TOLERANT, k) for k in (0, 3, 4)] == [1, 0, 0]
    assert epsilon_against(replace(FIVE, noise_multiplier=0.06), 4, 1) == math.inf
    for k in (-1, 5):
        with pytest.raises(ValueError, match=f"colluding={k} must be 0 to 4"):
            epsilon_against(FIVE, k, 200)


def test_shares_are_measured_on_the_grid_at_their_smallest() -> None:
    """η·σ·C / (B·√m) in steps of 2⁻²⁴."""
    assert share_on_grid(FIVE, 0.5) == pytest.approx(0.5 * 1.0 / 100 / math.sqrt(5) * 2**24)
    assert share_on_grid(TOLERANT, 1.0) == pytest.approx(1.0 / 100 / math.sqrt(3) * 2**24)
    changing = replace(FIVE, clip_schedule=Schedule("linear", 0.25), noise_schedule=Schedule("step", 0.5, 2))
    assert share_on_grid(changing, 0.5) == pytest.approx(share_on_grid(FIVE, 0.5) / 8)
    growing = replace(FIVE, clip_schedule=Schedule("linear", 4.0))
    assert share_on_grid(growing, 0.5) == pytest.approx(share_on_grid(FIVE, 0.5))


def rounded(mean: float, deviation: float, grid: np.ndarray) -> np.ndarray:
    """Probabilities of N(mean, deviation²) rounded to the whole numbers of ``grid``."""
    return stats.norm.cdf(grid + 0.5, mean, deviation) - stats.norm.cdf(grid - 0.5, mean, deviation)


@pytest.mark.parametrize(("deviation", "most"), [(0.5, 0.2), (1.0, 3e-4), (2.0, 1e-14)])
def test_rounding_before_the_sum_is_as_rounding_a_randomised_sum(deviation: float, most: float) -> None:
    """Two shares, each rounded to whole numbers and added, against their exact sum plus U(−½, ½), rounded: the distance
    falls like exp(−π²s²), as docs/encryption.md derives; at 16 steps of the grid it is below 10⁻¹⁰⁰⁰."""
    grid = np.arange(-30, 31)
    a, b = 0.3, 0.45
    apart = np.convolve(rounded(a, deviation, grid), rounded(b, deviation, grid))
    sums = np.arange(-60, 61)

    def at(u: float) -> np.ndarray:
        return rounded(a + b + u, deviation * math.sqrt(2), sums)

    nodes, weights = np.polynomial.legendre.leggauss(40)
    together = sum(w / 2 * at(x / 2) for x, w in zip(nodes, weights, strict=True))
    assert together.sum() == pytest.approx(1)
    distance = np.abs(apart - together).sum() / 2
    assert distance < most
    if deviation < 1:
        assert distance > most / 100  # not by accident of an insensitive test
    assert integrate.quad(lambda u: at(u)[60], -0.5, 0.5)[0] == pytest.approx(together[60])
