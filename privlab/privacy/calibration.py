"""Noise for a target ε, and how many steps a limit on ε allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile

from privlab.privacy.accounting import (
    LEAST_NOISE,
    MOST_NOISE,
    ONE,
    Accountant,
    checked,
    composition_of,
    epsilon_of,
    upper_epsilon_of,
)
from privlab.privacy.pair import Adjacency
from privlab.privacy.phases import Phase, Phases, first_steps, merged, total_steps
from privlab.privacy.roots import crossing

#: Share of the target left free, above the rounding errors of two FFT implementations.
_MARGIN = 1e-5
#: Most different noises, for one sampling rate, while a factor is searched.
_CONDENSED = 6


class OutOfReach(ValueError):
    """No noise multiplier between the bounds meets the target.

    Attributes:
        at_most: ε at the most noise, the smallest target that can be met.
        at_least: ε at the least noise, the largest target that still needs noise.
    """

    def __init__(self, message: str, at_most: float, at_least: float):
        super().__init__(message)
        self.at_most, self.at_least = at_most, at_least


def noise_for(target_epsilon: float, q: float, steps: int, delta: float) -> float:
    """:func:`scale_for` for ``steps`` equal steps: the smallest noise multiplier whose PLD ε is at most ``target_epsilon``."""
    return scale_for(target_epsilon, (Phase(q, 1.0, steps),), delta)


def scale_for(
    target_epsilon: float,
    phases: Iterable[Phase],
    delta: float,
    *,
    accountant: Accountant = "pld",
    adjacency: Adjacency = ONE,
    group_size: int = 1,
) -> float:
    """Smallest factor, to 1e-3 of itself, on every noise multiplier of ``phases`` whose ε is at most ``target_epsilon``.

    Rounded up to five significant digits, so that what is shown is what is used. The search runs on a coarser grid than
    :func:`epsilon_of`, which never gives a smaller ε, so the target is never exceeded.

    Raises:
        OutOfReach: no factor that keeps every noise multiplier in [LEAST_NOISE, MOST_NOISE] meets the target, or all do.
        ValueError: a value out of range, naming the bound.
    """
    if not target_epsilon > 0:
        raise ValueError(f"target_epsilon={target_epsilon:g} must be above 0.")
    if not math.isfinite(target_epsilon):
        raise ValueError(f"target_epsilon={target_epsilon:g} must be a number; without a limit no noise is needed.")
    given = tuple(phases)
    for phase in given:
        if not 0 < phase.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier={phase.noise_multiplier:g} must be above 0 to be scaled.")
    # The scaled noise is what must be in range.
    checked([replace(phase, noise_multiplier=1.0) for phase in given], delta, accountant, adjacency, group_size)
    return _scale(target_epsilon, merged(given), delta, accountant, adjacency, group_size)


@lru_cache(maxsize=1024)
def _scale(
    target: float, phases: Phases, delta: float, accountant: Accountant, adjacency: Adjacency, group_size: int
) -> float:
    goal = target * (1 - _MARGIN)
    noises = [phase.noise_multiplier for phase in phases]
    bounds = LEAST_NOISE / min(noises), MOST_NOISE / max(noises)
    if bounds[0] > bounds[1]:
        raise ValueError(
            f"noise multipliers from {min(noises):g} to {max(noises):g} are too far apart: scaled together they cannot all "
            f"lie between {LEAST_NOISE:g} and {MOST_NOISE:g}."
        )

    def spent(factor: float, of: Phases = phases, preview: bool = False) -> float:
        scaled = _scaled(of, factor)
        if accountant == "rdp":
            return epsilon_of(scaled, delta, accountant="rdp", adjacency=adjacency, group_size=group_size)
        return upper_epsilon_of(scaled, delta, adjacency=adjacency, group_size=group_size, preview=preview)

    few = _condensed(phases)
    log_factor = crossing(
        lambda x: excess(spent(math.exp(x), few, True), goal),
        lambda x: excess(spent(math.exp(x)), goal),
        _guess(goal, phases, delta, group_size),
        *(math.log(bound) for bound in bounds),
    )
    at_most, at_least = log_factor >= math.log(bounds[1]), log_factor <= math.log(bounds[0])
    if (at_most and spent(bounds[1]) > goal) or (at_least and spent(bounds[0]) <= goal):
        most, least = max(noises) * bounds[1], min(noises) * bounds[0]
        raise _out_of_reach(target, spent(bounds[1]), spent(bounds[0]), most, least)
    factor = math.exp(log_factor)
    tick = 10.0 ** (math.floor(math.log10(factor)) - 4)
    ticks, stride = math.ceil(factor / tick), 1
    # The crossing is right to 1e-5: a tick or two settle it, or some more where the grid's spacing doubles nearby.
    while spent(found := min(max(float(f"{ticks * tick:.5g}"), bounds[0]), bounds[1])) > goal:
        if found == bounds[1]:
            raise _out_of_reach(
                target, spent(bounds[1]), spent(bounds[0]), max(noises) * bounds[1], min(noises) * bounds[0]
            )
        ticks += stride
        stride *= 2
    return found


def excess(spent: float, goal: float) -> float:
    """log of what is ``spent`` over the ``goal``, held within what a root finder can use."""
    return math.log(min(max(spent / goal, 1e-3), 1e6))


def _scaled(phases: Phases, factor: float) -> Phases:
    """``phases`` with ``factor`` on every noise multiplier, held within the bounds against rounding."""
    return tuple(
        replace(phase, noise_multiplier=min(max(phase.noise_multiplier * factor, LEAST_NOISE), MOST_NOISE))
        for phase in phases
    )


def _condensed(phases: Phases) -> Phases:
    """A few steps that cost about what ``phases`` do, to search on: neighbours in noise take the mean of 1/σ²."""
    found: list[Phase] = []
    for rate in sorted({phase.sample_rate for phase in phases}):
        alike = sorted(
            (phase for phase in phases if phase.sample_rate == rate), key=lambda phase: phase.noise_multiplier
        )
        size = -(-len(alike) // _CONDENSED)
        for start in range(0, len(alike), size):
            part = alike[start : start + size]
            steps = total_steps(part)
            typical = math.sqrt(steps / sum(phase.steps / phase.noise_multiplier**2 for phase in part))
            found.append(Phase(rate, typical, steps))
    return tuple(found)


def _guess(goal: float, phases: Phases, delta: float, group_size: int) -> float:
    """log of a factor near the answer, from the central limit: a loss of mean μ²/2 and deviation μ = √Σ(k·q/σ)²."""
    unit = math.sqrt(sum(phase.steps * (phase.sample_rate / phase.noise_multiplier) ** 2 for phase in phases))
    typical = math.sqrt(total_steps(phases) / sum(phase.steps / phase.noise_multiplier**2 for phase in phases))
    sigma = group_size * unit / mean_shift(goal, delta) * typical
    return math.log(min(max(sigma, 4 * LEAST_NOISE), MOST_NOISE / 4) / typical)


def mean_shift(epsilon: float, delta: float) -> float:
    """μ of the Gaussian mechanism that spends about ``epsilon`` at ``delta``."""
    reach = math.sqrt(2 * math.log(1 / delta))
    return math.sqrt(reach**2 + 2 * epsilon) - reach


def _out_of_reach(target: float, least: float, most: float, most_noise: float, least_noise: float) -> OutOfReach:
    if least > target * (1 - _MARGIN):
        why = f"even noise_multiplier={most_noise:g} spends ε={least:.4g}; that is the smallest target here."
    else:
        why = f"noise_multiplier={least_noise:g}, next to none, spends only ε={most:.4g}; choose a target below that."
    return OutOfReach(f"target_epsilon={target:g} cannot be met: {why}", least, most)


def steps_within(
    limit: float,
    phases: Iterable[Phase],
    delta: float,
    *,
    accountant: Accountant = "pld",
    adjacency: Adjacency = ONE,
    group_size: int = 1,
) -> int:
    """Most steps t of ``phases`` with ε(t) ≤ ``limit`` < ε(t + 1) by :func:`epsilon_of`; 0 where the first passes it, all
    where none does.

    Raises:
        ValueError: a value out of range, naming the bound.
    """
    if not limit > 0:
        raise ValueError(f"limit={limit:g} must be above 0.")
    given = checked(phases, delta, accountant, adjacency, group_size)
    if any(phase.noise_multiplier == 0 for phase in given):
        given = tuple(takewhile(lambda phase: phase.noise_multiplier > 0, given))
    return _steps_within(limit, given, delta, accountant, adjacency, group_size) if given else 0


@lru_cache(maxsize=256)
def _steps_within(
    limit: float, phases: Phases, delta: float, accountant: Accountant, adjacency: Adjacency, group_size: int
) -> int:
    def fits(steps: int) -> bool:
        spent = epsilon_of(
            first_steps(phases, steps), delta, accountant=accountant, adjacency=adjacency, group_size=group_size
        )
        return spent <= limit

    last = total_steps(phases)
    if fits(last):
        return last
    low = 0
    if accountant == "pld":
        # The coarser grid never gives less, so what fits there fits.
        coarse = composition_of(phases, adjacency=adjacency, group_size=group_size)

        def fits_coarsely(steps: int) -> bool:
            return coarse.worst([steps], lambda loss: loss.epsilon(delta), math.inf)[0] <= limit

        low = _last(fits_coarsely, 0, last)
        while low and not fits(low):  # by rounding alone
            low -= 1
    stride, high = 1, low + 1
    while high < last and fits(high):
        low, high = high, min(high + stride, last)
        stride *= 2
    return _last(fits, low, high)


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Largest number for which ``holds``, known to hold at ``low`` and not at ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
