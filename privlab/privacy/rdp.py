"""Rényi accounting, the independent check of the headline accountant: looser by 9–20 %, but with no grid and no FFT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from privlab.privacy.pair import Pair, Step
from privlab.privacy.phases import Phases

#: Rényi orders: the customary ones, and larger ones so that few steps are not charged far too much.
ORDERS = tuple(
    [1 + i / 10 for i in range(1, 100)]
    + list(range(11, 65))
    + [72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 768, 1024, 2048]
)
#: Points of an integral, times the Gaussians in it, beyond which an order is left out: its divergence counts as infinite.
#: One record with the least noise stays below it at every order; large groups with little noise do not.
_MOST_WORK = 2**20
#: One record removed. Adding one costs no more at any order (Mironov, Talwar, Zhang 2019, arXiv:1908.10530, section 3).
_REMOVED = Pair(1, 0)


@lru_cache(maxsize=1024)
def step_divergences(q: float, sigma: float, pair: Pair = _REMOVED) -> np.ndarray:
    """Rényi divergence of one Poisson-subsampled Gaussian step at each of :data:`ORDERS`, shape (len(ORDERS),).

    The integral ∫ P^α·Q^(1−α) of the dominating pair (:mod:`privlab.privacy.pair`) by the trapezoidal rule, which is exact
    to rounding for such an integrand. dp-accounting's series is exact for whole orders only and an upper bound between
    them, and it knows no replaced record under Poisson sampling.
    """
    if q == 1:
        return np.array(ORDERS) * (pair.removed + pair.added) ** 2 / (2 * sigma**2)
    return np.array([_log_moment(q, sigma, pair, order) / (order - 1) for order in ORDERS])


def _log_moment(q: float, sigma: float, pair: Pair, order: float) -> float:
    step = Step(q, sigma, pair)
    spacing = sigma / 8  # finer ones change nothing beyond 1e-12
    # P^α·Q^(1−α) falls off as a Gaussian beyond α·a + (α−1)·b above and −b below.
    low = -pair.added - 12 * sigma
    high = order * pair.removed + (order - 1) * pair.added + 12 * sigma + spacing
    if (high - low) / spacing * step.parts > _MOST_WORK:
        return math.inf
    x = np.arange(low, high, spacing)
    exponent = order * step.log_up(x) + (1 - order) * step.log_down(x) - (x / sigma) ** 2 / 2
    top = float(exponent.max())
    return max(0.0, top + math.log(float(np.exp(exponent - top).sum()) * spacing / (sigma * math.sqrt(2 * math.pi))))


def _composed(phases: Phases, pair: Pair) -> np.ndarray:
    return sum(phase.steps * step_divergences(phase.sample_rate, phase.noise_multiplier, pair) for phase in phases)


def rdp_epsilons(phases: Phases, steps: Sequence[int], delta: float, pairs: Sequence[Pair] = (_REMOVED,)) -> np.ndarray:
    """ε at ``delta`` after the first t steps for each t of ``steps``, the worst over ``pairs``, shape (len(steps),).

    Conversion by dp-accounting (Canonne, Kamath, Steinke 2020).
    """
    from dp_accounting.rdp import compute_epsilon

    found = np.zeros(len(steps))
    for pair in pairs:
        for place, divergences in _prefixes(phases, steps, pair):
            found[place] = max(found[place], float(compute_epsilon(ORDERS, divergences, delta)[0]))
    return found


def _prefixes(phases: Phases, steps: Sequence[int], pair: Pair):
    """Place in ``steps`` and composed divergences, in the order of the steps."""
    before, past, place = np.zeros(len(ORDERS)), 0, 0
    order = np.argsort(np.asarray(steps, dtype=int), kind="stable")
    for phase in phases:
        once = step_divergences(phase.sample_rate, phase.noise_multiplier, pair)
        while place < len(order) and steps[order[place]] <= past + phase.steps:
            yield order[place], before + (steps[order[place]] - past) * once
            place += 1
        before, past = before + phase.steps * once, past + phase.steps


def rdp_delta(phases: Phases, epsilon: float, pairs: Sequence[Pair] = (_REMOVED,)) -> float:
    """δ at ``epsilon`` after all steps, the worst over ``pairs``; conversion by dp-accounting."""
    from dp_accounting.rdp.rdp_privacy_accountant import compute_delta

    # Below 1e-15 the library takes the logarithm of 0.
    return max(float(compute_delta(ORDERS, np.maximum(_composed(phases, pair), 1e-15), epsilon)[0]) for pair in pairs)
