"""First answers in some milliseconds, on the safe side: what a form shows until the exact one is there.

The grid is coarse, which raises ε by some 0.05 %, by a few percent where a record takes part very rarely (q near 0.001),
and never lowers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from privlab.privacy.accounting import LEAST_NOISE, MOST_NOISE, ONE
from privlab.privacy.calculator import MOST_EPOCHS, MOST_RECORDS
from privlab.privacy.composition import Composition, Grid
from privlab.privacy.loss import Loss
from privlab.privacy.pair import Adjacency, pairs_of
from privlab.privacy.phases import Phase, Phases, total_steps

_GRID = Grid(16.0, 2**14)
#: Tries of the search; each is one composition.
_TRIES = 8
#: How near below the target the search ends, relative.
_NEAR = 1e-3


@lru_cache(maxsize=1024)
def quick_epsilon(phases: Phases, delta: float, adjacency: Adjacency = ONE) -> float:
    """Upper bound of the PLD ε, by so much above it; inf where ε is in the thousands. Expects values in range."""
    return _worst(phases, adjacency, lambda loss: loss.epsilon(delta), math.inf)


def _quick_delta(phases: Phases, epsilon: float, adjacency: Adjacency) -> float:
    return _worst(phases, adjacency, lambda loss: loss.delta(epsilon), 1.0)


def _worst(phases: Phases, adjacency: Adjacency, of: Callable[[Loss], float], beyond: float) -> float:
    steps = total_steps(phases)
    pairs = pairs_of(adjacency, 1, all(phase.sample_rate == 1 for phase in phases))
    return float(Composition(phases, pairs, _GRID, steps).worst([steps], of, beyond)[0])


@lru_cache(maxsize=512)
def quick_noise(target_epsilon: float, q: float, steps: int, delta: float, adjacency: Adjacency = ONE) -> float:
    """A noise multiplier that keeps to ``target_epsilon``, somewhat above the smallest; NaN where none was found."""

    def spent(sigma: float) -> float:
        return quick_epsilon((Phase(q, sigma, steps),), delta, adjacency)

    # μ² = q²·T·(e^(1/σ²) − 1) by the central limit (Bu et al. 2020): a few tries from there suffice.
    first = math.log1p((_central_limit(target_epsilon, delta) / q) ** 2 / steps) ** -0.5
    first = min(max(first, LEAST_NOISE), MOST_NOISE / 2)
    return safe_root(spent, target_epsilon, first, (LEAST_NOISE, MOST_NOISE), rising=False)


def _central_limit(epsilon: float, delta: float) -> float:
    """μ of the Gaussian trade-off that has about this ε at ``delta``: where a search begins, never an answer."""
    reach = math.sqrt(2 * math.log(1 / delta))
    return math.sqrt(reach**2 + 2 * epsilon) - reach


def safe_root(
    spent: Callable[[float], float], target: float, first: float, bounds: tuple[float, float], *, rising: bool
) -> float:
    """x whose ``spent(x)`` lies within :data:`_NEAR` below ``target``, by secants of the logarithms; NaN if none is found.

    Args:
        spent: positive and monotone, ``rising`` or falling in x.
        first: a guess.
        bounds: of x, both above 0.
    """
    low, high = (math.log(bound) for bound in bounds)
    goal = math.log(target) - _NEAR / 2
    slope = 1.0 if rising else -1.3
    x = math.log(first)
    safe, last = math.nan, None
    for _ in range(_TRIES):
        found = spent(math.exp(x))
        y = math.log(min(max(found, 1e-12), 1e12)) - goal
        if y <= _NEAR / 2:
            safe = math.exp(x) if math.isnan(safe) or (math.exp(x) > safe) == rising else safe
            if y >= -_NEAR / 2:
                return math.exp(x)
        if last is not None and last[0] != x and (y - last[1]) * (x - last[0]) * slope > 0:
            slope = (y - last[1]) / (x - last[0])
        last = (x, y)
        x = min(max(x - min(max(y / slope, -2.0), 2.0), low), high)
    return safe


def quick_solve(unknown: str, *, adjacency: Adjacency = ONE, **given: float) -> float:
    """:func:`privlab.privacy.calculator.solve` by the PLD accountant within milliseconds, on the safe side: not below the
    exact ε, σ, N or δ and not above the exact B or E. NaN where none was found. Expects values in range."""

    def phases(**instead: float) -> Phases:
        now = {**given, **instead}
        q = min(1.0, now["batch_size"] / now["records"])
        return (Phase(q, now["noise_multiplier"], max(1, round(now["epochs"] / q))),)

    if unknown == "epsilon":
        return quick_epsilon(phases(), given["delta"], adjacency)
    if unknown == "delta":
        return _quick_delta(phases(), given["epsilon"], adjacency)
    if unknown == "noise_multiplier":
        (step,) = phases(noise_multiplier=1.0)
        return quick_noise(given["epsilon"], step.sample_rate, step.steps, given["delta"], adjacency)

    def spent(value: float) -> float:
        return quick_epsilon(phases(**{unknown: value}), given["delta"], adjacency)

    limit = given["epsilon"]
    # As above, with T = E / q.
    passes = _central_limit(limit, given["delta"]) ** 2 / math.expm1(min(given["noise_multiplier"] ** -2, 300.0))
    if unknown == "records":
        least, most = given["batch_size"], MOST_RECORDS
        first, outward = given["batch_size"] * given["epochs"] / passes, math.ceil
    elif unknown == "batch_size":
        least, most = 1, given["records"]
        first, outward = given["records"] * passes / given["epochs"], math.floor
    else:
        least, most = 1, MOST_EPOCHS
        first, outward = passes * given["records"] / given["batch_size"], math.floor
    start = min(max(first, least), most)
    found = safe_root(spent, limit, start, (least, most), rising=unknown != "records")
    if math.isnan(found):
        return math.nan
    whole = outward(found)
    return whole if whole >= 1 and spent(whole) <= limit else math.nan
