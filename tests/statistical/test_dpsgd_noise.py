"""The noise of every source is Gaussian with the standard deviation asked for, and independent where it should be.

**Error rates.** Each test refuses a right source with probability at most 10⁻⁶. With n = 40,000 values the standard error
of the measured deviation is 0.35 %; the limit is 4.9 of these, so one that is 5 % off, 14 errors away, is rejected with
probability above 1 − 10⁻⁶ (its own spread leaves 9 errors of room, and 10⁻⁶ needs 4.9). Seeds are fixed, so that a test
gives the same answer each time; fresh entropy is tested at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.correlated import strategy
from privlab.dpsgd.gaussian import NoiseSource, PlainNoise
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.step import PrivateStep
from privlab.dpsgd.whole_noise import whole_noise
from privlab.privacy.plan import PrivacyPlan

CPU = torch.device("cpu")
#: Two-sided normal limit of a single test with error 10⁻⁶.
LIMIT = stats.norm.isf(1e-6 / 2)
SCALE_VALUES = 40_000
STD = 0.37
SOURCES: dict[str, Callable[[], NoiseSource]] = {
    "cipher": lambda: noise_source("reproducible", "none", 1, CPU, 11),
    "plain": lambda: PlainNoise(torch.Generator().manual_seed(11)),
    "rounded": lambda: noise_source("reproducible", "rounded", 1, CPU, 11),
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def drawn(source: NoiseSource, count: int, std: float = STD, steps: int = 1) -> np.ndarray:
    """Noise in units of ``STD``, float64 (steps · count,), or (steps, count) where steps > 1."""
    sums = [torch.zeros(count // 2), torch.zeros(count - count // 2)]
    rows = [torch.cat(source.perturb(sums, std)).double().numpy() / STD for _ in range(steps)]
    return rows[0] if steps == 1 else np.array(rows)


def z_of_deviation(values: np.ndarray) -> float:
    return (values.std() - 1) * np.sqrt(2 * values.size)


def z_of_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return np.corrcoef(a, b)[0, 1] * np.sqrt(len(a))


@each_source
def test_deviation_and_mean(source: Callable[[], NoiseSource]) -> None:
    values = drawn(source(), SCALE_VALUES)
    assert abs(z_of_deviation(values)) < LIMIT
    assert abs(values.mean()) * np.sqrt(values.size) < LIMIT


@each_source
@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_five_per_cent_off_is_rejected(source: Callable[[], NoiseSource], factor: float) -> None:
    assert abs(z_of_deviation(drawn(source(), SCALE_VALUES, factor * STD))) > LIMIT


@each_source
def test_shape_is_gaussian(source: Callable[[], NoiseSource]) -> None:
    values = drawn(source(), 1_000_000)
    assert stats.kstest(values, "norm").pvalue > 1e-6
    counts = np.bincount((stats.norm.cdf(values) * 200).astype(int), minlength=200)
    assert stats.chisquare(counts).pvalue > 1e-6
    # A sum of 12 uniforms, the usual shortcut, has the right deviation and is seen.
    shortcut = np.random.default_rng(0).random((1_000_000, 12)).sum(axis=1) - 6
    assert stats.kstest(shortcut, "norm").pvalue < 1e-6


@each_source
def test_tails_are_as_heavy_as_they_should_be(source: Callable[[], NoiseSource]) -> None:
    values = np.abs(drawn(source(), 4_000_000))
    for bound in (3.0, 3.5, 4.0, 4.5, 5.0):
        chance = 2 * stats.norm.sf(bound)
        assert stats.binomtest(int((values > bound).sum()), len(values), chance).pvalue > 1e-6 / 5
    # Noise cut off at 4 deviations is seen.
    assert stats.binomtest(0, len(values), 2 * stats.norm.sf(4.0)).pvalue < 1e-6


@each_source
def test_coordinates_and_steps_do_not_share_noise(source: Callable[[], NoiseSource]) -> None:
    first, second = drawn(source(), 200_000, steps=2)
    pairs = {
        "steps": (first, second),
        "neighbours": (first[:-1], first[1:]),
        "halves": (first[:100_000], first[100_000:]),
    }
    for a, b in pairs.values():
        assert abs(z_of_correlation(a, b)) < LIMIT
        assert abs(z_of_correlation(a**2, b**2)) < LIMIT
    assert abs(z_of_correlation(first, first + 30 * second)) > LIMIT


@pytest.mark.parametrize("policy", ["private", "plain"])
def test_fresh_entropy_is_never_the_same_and_of_the_same_scale(policy: str) -> None:
    first, second = (drawn(noise_source(policy, "none", 1, CPU, None), SCALE_VALUES) for _ in range(2))
    assert abs(z_of_deviation(np.append(first, second))) < LIMIT
    assert abs(z_of_correlation(first, second)) < LIMIT


# Whole numbers

GRID, DRAWS = 8, 8_000_000


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return whole_noise(CipherStream(11), DRAWS, grid_bits=GRID)


def p_of_cells(drawn: np.ndarray) -> float:
    """χ² of every K against the normal integral over [K, K+1) / 2⁸, cells with fewer than 10 expected joined."""
    cells = np.arange(-6 << GRID, 6 << GRID)
    chance = stats.norm.cdf((cells + 1) / 2**GRID) - stats.norm.cdf(cells / 2**GRID)
    counts = np.bincount(drawn - cells[0], minlength=len(cells))
    kept = chance * len(drawn) >= 10
    observed = np.append(counts[kept], len(drawn) - counts[kept].sum())
    return stats.chisquare(observed, np.append(chance[kept], 1 - chance[kept].sum()) * len(drawn)).pvalue


def z_inside_stairs(drawn: np.ndarray) -> float:
    """Whether places in a stair get rarer outwards as they should: the covariance of stair and place.

    The acceptance lowers the mean place by x/12 of a stair squared; with 8 million draws its absence lies 12 errors away.
    """
    size = np.where(drawn < 0, ~drawn, drawn)
    stair, place = size >> 2, (size & 3) - 1.5
    cells = np.arange(6 << GRID)
    chance = 2 * (stats.norm.cdf((cells + 1) / 2**GRID) - stats.norm.cdf(cells / 2**GRID))
    score = (cells >> 2) * ((cells & 3) - 1.5)
    mean, square = (chance * score).sum(), (chance * score**2).sum()
    return ((stair * place).mean() - mean) / np.sqrt((square - mean**2) / len(drawn))


def test_every_whole_number_comes_as_often_as_it_should(whole: np.ndarray) -> None:
    assert p_of_cells(whole) > 1e-6
    # Noise 1 % too small, or moved by a 64th of its deviation, is seen.
    rng = np.random.default_rng(0)
    assert p_of_cells(np.floor(rng.normal(0, 0.99 * 2**GRID, DRAWS)).astype(np.int64)) < 1e-6
    assert p_of_cells(np.floor(rng.normal(4, 2**GRID, DRAWS)).astype(np.int64)) < 1e-6


def test_places_inside_stairs_follow_the_density(whole: np.ndarray) -> None:
    assert abs(z_inside_stairs(whole)) < LIMIT
    flat = np.where(whole < 0, ~whole, whole) & ~3 | np.random.default_rng(0).integers(0, 4, DRAWS)
    assert abs(z_inside_stairs(flat)) > LIMIT


# Correlated noise


def test_covariance_of_correlated_noise_is_that_of_the_inverse() -> None:
    """C⁻¹C⁻ᵀ, measured over 100,000 coordinates; the limit holds for all 78 entries together."""
    bands, steps, count = 4, 12, 100_000
    c = sum(np.diag(np.full(steps - k, v), -k) for k, v in enumerate(strategy(bands)))
    inverse = np.linalg.inv(c)
    exact = inverse @ inverse.T
    rows = drawn(noise_source("reproducible", "none", bands, CPU, 11), count, steps=steps)
    error = np.sqrt((np.outer(exact.diagonal(), exact.diagonal()) + exact**2) / count)
    z = (rows @ rows.T / count - exact) / error
    assert np.abs(z).max() < stats.norm.isf(1e-6 / (2 * 78))
    # Independent noise of the same size in each step is not it.
    assert np.abs((np.diag(exact.diagonal()) - exact) / error).max() > 10 * LIMIT


# The step

PLAN = PrivacyPlan(records=100, batch_size=20, steps=5, noise_multiplier=1.7, max_grad_norm=0.3, delta=1e-5)


def released(source: NoiseSource) -> np.ndarray:
    """Move of the parameters in a step with an empty batch and learning rate 1, in units of σ·C/B."""
    model = nn.Sequential(nn.Linear(100, 700), nn.Linear(700, 7))
    step = PrivateStep(model, PLAN, "ghost", torch.optim.SGD(model.parameters(), lr=1.0), source, 16)
    for p in model.parameters():
        p.data.zero_()
    step.run(torch.zeros(1, 100), torch.zeros(1, dtype=torch.int64), torch.arange(0), PhaseClock(CPU))
    moves = torch.cat([p.detach().flatten() for p in model.parameters()]).double().numpy()
    return moves * PLAN.batch_size / (PLAN.noise_multiplier * PLAN.max_grad_norm)


class Spoiled(NoiseSource):
    """A source that gives so many times the deviation asked for."""

    def __init__(self, factor: float):
        self._inner, self._factor = SOURCES["cipher"](), factor

    def perturb(self, sums, std):
        return self._inner.perturb(sums, std * self._factor)


@each_source
def test_step_releases_deviation_sigma_c_over_b(source: Callable[[], NoiseSource]) -> None:
    values = released(source())
    assert values.size > SCALE_VALUES
    assert abs(z_of_deviation(values)) < LIMIT
    assert abs(values.mean()) * np.sqrt(values.size) < LIMIT


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_step_with_five_per_cent_off_is_rejected(factor: float) -> None:
    assert abs(z_of_deviation(released(Spoiled(factor)))) > LIMIT
