"""How much privacy a training spends: ε from noise, noise from ε, and the whole curve in one pass.

All functions speak of DP-SGD with Poisson sampling (Abadi et al. 2016; each record joins a batch with probability q)
under adding or removing one record. ``pld`` is the headline accountant (privacy-loss distributions, tight), ``rdp``
the check (Rényi, looser). No function ever understates ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from privlab.privacy.loss import Loss, Mechanism
from privlab.privacy.rdp import rdp_epsilons

if TYPE_CHECKING:
    from privlab.privacy.plan import PrivacyPlan

Accountant = Literal["pld", "rdp"]

#: Noise multipliers that PrivLab reckons with; below the smallest, a record all but shows.
LEAST_NOISE, MOST_NOISE = 0.05, 1000.0
#: Largest ε that is called a guarantee at all.
MOST_EPSILON = 1000.0
#: Smallest δ that the FFT of the loss distribution can resolve.
LEAST_DELTA = 1e-10

# Grids: (points per deviation of one step's loss, most points). See Mechanism.
_FINE = (None, 2**19)
_CURVE = (50.0, 2**17)
_PREVIEW = (20.0, 2**15)
#: Share of the target left free by noise_for, above the rounding errors of two FFT implementations.
_MARGIN = 1e-5


class OutOfReach(ValueError):
    """No noise multiplier between the bounds meets the target.

    Attributes:
        at_most: ε at the largest noise multiplier, the smallest target that can be met.
        at_least: ε at the smallest noise multiplier, the largest target that still needs noise.
    """

    def __init__(self, message: str, at_most: float, at_least: float):
        super().__init__(message)
        self.at_most, self.at_least = at_most, at_least


def _check(q: float, sigma: float, steps: int, delta: float, accountant: str = "pld") -> None:
    if accountant not in get_args(Accountant):
        raise ValueError(f"accountant={accountant!r} is unknown; choose one of {', '.join(get_args(Accountant))}.")
    if not 0 < q <= 1:
        raise ValueError(f"sample_rate={q:g} must lie above 0 and at most at 1.")
    if not (sigma == 0 or LEAST_NOISE <= sigma <= MOST_NOISE):
        raise ValueError(f"noise_multiplier={sigma:g} must be 0 or lie between {LEAST_NOISE:g} and {MOST_NOISE:g}.")
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1.")
    if not LEAST_DELTA <= delta < 1:
        raise ValueError(f"delta={delta:g} must be at least {LEAST_DELTA:g} and below 1.")


@lru_cache(maxsize=1024)
def epsilon(q: float, sigma: float, steps: int, delta: float, accountant: Accountant = "pld") -> float:
    """ε spent at ``delta`` by ``steps`` steps; inf without noise.

    Agrees with dp-accounting's ``PLDAccountant`` to 1e-6 while a grid of 1e-4 is affordable (ε up to some 30); beyond,
    the grid widens, the value stays an upper bound and the relative difference below 1e-3.

    Raises:
        ValueError: a value out of range, naming the bound.
    """
    _check(q, sigma, steps, delta, accountant)
    if sigma == 0:
        return math.inf
    if accountant == "rdp":
        return float(rdp_epsilons(q, sigma, [steps], delta)[0])
    return Mechanism(q, sigma, steps, steps, *_FINE).epsilon(steps, delta)


@lru_cache(maxsize=1024)
def upper_epsilon(q: float, sigma: float, steps: int, delta: float) -> float:
    """Upper bound of the PLD ε in a few milliseconds, for a form: never below :func:`epsilon`, above it by some
    5e-5·ε, or up to 1e-3·ε where steps are very many and the noise small.

    inf where ε is in the tens of thousands. Expects values in range.
    """
    return Mechanism(q, sigma, steps, steps, *_CURVE).epsilon(steps, delta)


def composed_losses(q: float, sigma: float, steps: int) -> list[Loss]:
    """The whole privacy loss of ``steps`` steps, one distribution for each distinct adjacency direction.

    Empty where ε is in the tens of thousands. Raises ValueError as :func:`epsilon`; ``sigma`` must be above 0.
    """
    _check(q, sigma, steps, LEAST_DELTA)
    if sigma == 0:
        raise ValueError("noise_multiplier=0 has no privacy loss distribution; it must be above 0.")
    return Mechanism(q, sigma, steps, steps, *_CURVE).after(steps)


def delta_for(target_epsilon: float, q: float, sigma: float, steps: int) -> float:
    """δ that ``steps`` steps give at ``target_epsilon`` (PLD); 1 without noise. Raises ValueError as :func:`epsilon`."""
    if sigma == 0:
        return 1.0
    return max((loss.delta(target_epsilon) for loss in composed_losses(q, sigma, steps)), default=1.0)


@lru_cache(maxsize=256)
def _curve(
    q: float, sigma: float, delta: float, steps: tuple[int, ...], accountant: Accountant, preview: bool
) -> np.ndarray:
    if accountant == "rdp":
        found = rdp_epsilons(q, sigma, steps, delta)
    else:
        last = max(steps)
        total = upper_epsilon(q, sigma, last, delta) if preview else epsilon(q, sigma, last, delta)
        mechanism = Mechanism(q, sigma, min(steps), last, *(_PREVIEW if preview else _CURVE))
        # Fewer steps never cost more, so the finer total bounds every point.
        found = np.array([min(total, mechanism.epsilon(count, delta)) if count < last else total for count in steps])
    found.setflags(write=False)
    return found


def epsilon_curve(plan: PrivacyPlan, steps: Sequence[int], *, preview: bool = False) -> np.ndarray:
    """ε spent after each of ``steps``, shape (len(steps),), read-only; inf where the plan is not private.

    The largest step gets exactly :func:`epsilon`; the others come from one coarser grid: never below it, above it
    by some 5e-5·ε, or up to 1e-3·ε where steps are very many and the noise small. With ``preview`` the grids are coarser still (some 1e-3·ε), for a form at each keystroke.

    Raises:
        ValueError: a step below 1.
    """
    counts = tuple(int(step) for step in steps)
    if any(count < 1 for count in counts):
        raise ValueError(f"step={min(counts)} must be at least 1.")
    if not counts or not plan.is_private:
        return np.full(len(counts), math.inf)
    _check(plan.sample_rate, plan.noise_multiplier, max(counts), plan.delta, plan.accountant)
    return _curve(plan.sample_rate, plan.noise_multiplier, plan.delta, counts, plan.accountant, preview)


@lru_cache(maxsize=1024)
def noise_for(target_epsilon: float, q: float, steps: int, delta: float) -> float:
    """Smallest noise multiplier, to 1e-3 of itself, whose PLD ε stays at or below ``target_epsilon``.

    Rounded up to five significant digits, so that what is shown is what is used. The search runs on a coarser grid
    than :func:`epsilon`, which never gives a smaller ε, so the target is never exceeded.

    Raises:
        OutOfReach: no noise multiplier in [LEAST_NOISE, MOST_NOISE] meets the target, or all of them do.
        ValueError: a value out of range, naming the bound.
    """
    _check(q, MOST_NOISE, steps, delta)
    if not target_epsilon > 0:
        raise ValueError(f"target_epsilon={target_epsilon:g} must be above 0.")
    from scipy.optimize import brentq

    goal = target_epsilon * (1 - _MARGIN)

    def excess(log_sigma: float) -> float:
        spent = upper_epsilon(q, math.exp(log_sigma), steps, delta) / goal
        return math.log(min(max(spent, 1e-3), 1e6))

    low, high = _bracket(excess, _guess(goal, q, steps, delta))
    if low == high:
        raise _out_of_reach(target_epsilon, q, steps, delta)
    sigma = math.exp(brentq(excess, low, high, xtol=2e-5))
    tick = 10.0 ** (math.floor(math.log10(sigma)) - 4)
    ticks, stride = math.ceil(sigma / tick), 1
    # The root is right to 2e-5: a tick or two settle it, or some more where the grid's spacing doubles nearby.
    while upper_epsilon(q, found := _shown(ticks * tick), steps, delta) > goal:
        if found == MOST_NOISE:
            raise _out_of_reach(target_epsilon, q, steps, delta)
        ticks += stride
        stride *= 2
    return found


def _shown(sigma: float) -> float:
    """``sigma`` at five significant digits, kept within the bounds."""
    return min(max(float(f"{sigma:.5g}"), LEAST_NOISE), MOST_NOISE)


def _guess(goal: float, q: float, steps: int, delta: float) -> float:
    """log σ near the answer, from the central limit: a loss of mean μ²/2 and deviation μ = q·√T/σ."""
    reach = math.sqrt(2 * math.log(1 / delta))
    mu = math.sqrt(reach**2 + 2 * goal) - reach
    return math.log(min(max(q * math.sqrt(steps) / mu, 4 * LEAST_NOISE), MOST_NOISE / 4))


def _bracket(excess: Callable[[float], float], start: float) -> tuple[float, float]:
    """log σ too small and large enough, around ``start``; twice the same bound where that bound does not suffice."""
    bottom, top = math.log(LEAST_NOISE), math.log(MOST_NOISE)
    stride = 0.3
    if excess(start) > 0:
        low, high = start, min(start + stride, top)
        while excess(high) > 0:
            if high == top:
                return top, top
            stride *= 2
            low, high = high, min(high + stride, top)
    else:
        low, high = max(start - stride, bottom), start
        while excess(low) <= 0:
            if low == bottom:
                return bottom, bottom
            stride *= 2
            low, high = max(low - stride, bottom), low
    return low, high


def _out_of_reach(target_epsilon: float, q: float, steps: int, delta: float) -> OutOfReach:
    least, most = (upper_epsilon(q, sigma, steps, delta) for sigma in (MOST_NOISE, LEAST_NOISE))
    if least > target_epsilon * (1 - _MARGIN):
        why = f"even noise_multiplier={MOST_NOISE:g} spends ε={least:.4g}; that is the smallest target here."
    else:
        why = f"noise_multiplier={LEAST_NOISE:g}, next to none, spends only ε={most:.4g}; choose a target below that."
    return OutOfReach(f"target_epsilon={target_epsilon:g} cannot be met: {why}", least, most)
