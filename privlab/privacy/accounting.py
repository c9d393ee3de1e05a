"""How much privacy a training spends: ε and δ of any sequence of steps, and the whole curve in one pass.

All functions speak of DP-SGD with Poisson sampling (Abadi et al. 2016; each record joins a batch with probability q).
``pld`` is the headline accountant (privacy-loss distributions, tight), ``rdp`` the check (Rényi, looser). Neighbouring
data sets differ by one record added or removed, or replaced by another, or by ``group_size`` records that are all added,
all removed or all replaced together (:mod:`privlab.privacy.pair` proves what is composed). No function ever understates ε.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from privlab.privacy.composition import Composition, Grid
from privlab.privacy.loss import Loss
from privlab.privacy.pair import Adjacency, pairs_of
from privlab.privacy.phases import Phase, Phases, first_steps, merged, total_steps
from privlab.privacy.rdp import rdp_delta, rdp_epsilons

if TYPE_CHECKING:
    from privlab.privacy.plan import PrivacyPlan

Accountant = Literal["pld", "rdp"]

#: Noise multipliers that PrivLab reckons with; below the smallest, a record all but shows.
LEAST_NOISE, MOST_NOISE = 0.05, 1000.0
#: Largest ε that is called a guarantee at all.
MOST_EPSILON = 1000.0
#: Smallest δ that the FFT of the loss distribution can resolve.
LEAST_DELTA = 1e-10

ONE: Adjacency = "add-or-remove-one"

_FINE = Grid(None, 2**19)
#: As fine as is affordable for many different steps.
_MANY = Grid(100.0, 2**17)
_CURVE = Grid(50.0, 2**17)
_PREVIEW = Grid(20.0, 2**15)
#: Distinct steps (times the Gaussians in one) up to which the finest grid is affordable.
_FEW = 12
#: All grids together have at most about this many points.
_MOST_WORK = 2**21


def epsilon_of(
    phases: Iterable[Phase],
    delta: float,
    *,
    accountant: Accountant = "pld",
    adjacency: Adjacency = ONE,
    group_size: int = 1,
) -> float:
    """ε spent at ``delta`` by all steps of ``phases``; inf where one adds no noise.

    Agrees with dp-accounting's ``PLDAccountant`` to 1e-6 while a grid of 1e-4 is affordable (ε up to some 30, and a few
    distinct steps); beyond, the grid widens, the value stays an upper bound and the relative difference below 1e-3.

    Raises:
        ValueError: a value out of range, naming the bound; or no phases, for then nothing is accounted.
    """
    return _epsilon(checked(phases, delta, accountant, adjacency, group_size), delta, accountant, adjacency, group_size)


def upper_epsilon_of(
    phases: Iterable[Phase],
    delta: float,
    *,
    adjacency: Adjacency = ONE,
    group_size: int = 1,
    preview: bool = False,
) -> float:
    """Upper bound of the PLD ε in a few milliseconds a distinct step, for a form: never below :func:`epsilon_of`, above it
    by some 5e-5·ε, or up to 1e-3·ε where steps are very many and the noise small. With ``preview`` it takes half as long
    and stands above by some 1e-3·ε.

    inf where ε is in the tens of thousands. Raises ValueError as :func:`epsilon_of`.
    """
    return _upper_epsilon(checked(phases, delta, "pld", adjacency, group_size), delta, adjacency, group_size, preview)


def delta_of(
    phases: Iterable[Phase],
    epsilon: float,
    *,
    accountant: Accountant = "pld",
    adjacency: Adjacency = ONE,
    group_size: int = 1,
) -> float:
    """δ of all steps of ``phases`` at ``epsilon``, 0…1; 1 where one adds no noise. Raises ValueError as
    :func:`epsilon_of`, and for a negative ``epsilon``."""
    given = checked(phases, LEAST_DELTA, accountant, adjacency, group_size)
    if not epsilon >= 0:
        raise ValueError(f"epsilon={epsilon:g} must be at least 0.")
    if _noiseless(given):
        return 1.0
    if accountant == "rdp":
        return rdp_delta(given, epsilon, _pairs(given, adjacency, group_size))
    return max((loss.delta(epsilon) for loss in _losses(_gathered(given), adjacency, group_size)), default=1.0)


def losses_of(phases: Iterable[Phase], *, adjacency: Adjacency = ONE, group_size: int = 1) -> list[Loss]:
    """The whole privacy loss of ``phases``, one distribution for each pair of neighbours whose worst counts.

    Empty where ε is in the tens of thousands, or where a step adds no noise. Raises ValueError as :func:`epsilon_of`.
    """
    given = checked(phases, LEAST_DELTA, "pld", adjacency, group_size)
    return [] if _noiseless(given) else _losses(_gathered(given), adjacency, group_size)


def curve_of(
    phases: Iterable[Phase],
    steps: Sequence[int],
    delta: float,
    *,
    accountant: Accountant = "pld",
    adjacency: Adjacency = ONE,
    group_size: int = 1,
    preview: bool = False,
) -> np.ndarray:
    """ε spent after the first t steps of ``phases`` for each t of ``steps``, shape (len(steps),), read-only.

    The largest t gets exactly :func:`epsilon_of`; the others come from one coarser grid: never below it, above it by some
    5e-5·ε, or up to 1e-3·ε where steps are very many and the noise small. With ``preview`` the grids are coarser still
    (some 1e-3·ε), for a form at each keystroke.

    Raises:
        ValueError: as :func:`epsilon_of`, or a step that is not among ``phases``.
    """
    counts = tuple(int(step) for step in steps)
    if not counts:
        return np.empty(0)
    given = checked(phases, delta, accountant, adjacency, group_size)
    if min(counts) < 1 or max(counts) > total_steps(given):
        wrong = min(counts) if min(counts) < 1 else max(counts)
        raise ValueError(f"step={wrong} must lie between 1 and {total_steps(given):,}.")
    return _curve(first_steps(given, max(counts)), counts, delta, accountant, adjacency, group_size, preview)


def epsilon_curve(plan: PrivacyPlan, steps: Sequence[int], *, preview: bool = False) -> np.ndarray:
    """ε that ``plan`` has spent after each of the training ``steps``, as :func:`curve_of`; inf where it is not private.

    Raises:
        ValueError: a step below 1.
    """
    trained = tuple(int(step) for step in steps)
    if any(step < 1 for step in trained):
        raise ValueError(f"step={min(trained)} must be at least 1.")
    if not trained or not plan.is_private:
        return np.full(len(trained), math.inf)
    extra, less = plan.slack
    found = curve_of(
        plan.phases_until(max(trained)),
        [total_steps(plan.phases_until(step)) for step in trained],
        plan.delta - less,
        accountant=plan.accountant,
        adjacency=plan.adjacency,
        preview=preview,
    )
    if extra:
        found = found + extra
        found.setflags(write=False)
    return found


def epsilon(q: float, sigma: float, steps: int, delta: float, accountant: Accountant = "pld") -> float:
    """:func:`epsilon_of` for ``steps`` equal steps."""
    return epsilon_of((Phase(q, sigma, steps),), delta, accountant=accountant)


def upper_epsilon(q: float, sigma: float, steps: int, delta: float) -> float:
    """:func:`upper_epsilon_of` for ``steps`` equal steps."""
    return upper_epsilon_of((Phase(q, sigma, steps),), delta)


def delta_for(target_epsilon: float, q: float, sigma: float, steps: int) -> float:
    """:func:`delta_of` for ``steps`` equal steps."""
    return delta_of((Phase(q, sigma, steps),), target_epsilon)


def composition_of(phases: Phases, *, adjacency: Adjacency = ONE, group_size: int = 1) -> Composition:
    """``phases`` on the grid of curves, to ask about any of their first steps. Expects values in range."""
    return Composition(phases, _pairs(phases, adjacency, group_size), _afforded(_CURVE, phases, group_size), 1)


def checked(
    phases: Iterable[Phase], delta: float, accountant: str = "pld", adjacency: str = ONE, group_size: int = 1
) -> Phases:
    """``phases`` with equal neighbours joined, once every value is in range. Raises ValueError as :func:`epsilon_of`."""
    if accountant not in get_args(Accountant):
        raise ValueError(f"accountant={accountant!r} is unknown; choose one of {', '.join(get_args(Accountant))}.")
    if not LEAST_DELTA <= delta < 1:
        raise ValueError(f"delta={delta:g} must be at least {LEAST_DELTA:g} and below 1.")
    given = tuple(phases)
    if not given:
        raise ValueError("phases is empty, so there is nothing to account; a training without noise has no ε.")
    for phase in given:
        q, sigma, steps = phase.sample_rate, phase.noise_multiplier, phase.steps
        if not 0 < q <= 1:
            raise ValueError(f"sample_rate={q:g} must lie above 0 and at most at 1.")
        if not (sigma == 0 or LEAST_NOISE <= sigma <= MOST_NOISE):
            raise ValueError(f"noise_multiplier={sigma:g} must be 0 or lie between {LEAST_NOISE:g} and {MOST_NOISE:g}.")
        if steps < 1 or steps != int(steps):
            raise ValueError(f"steps={steps} must be a whole number and at least 1.")
    pairs_of(adjacency, group_size, False)
    return merged(given)


def _noiseless(phases: Phases) -> bool:
    return any(phase.noise_multiplier == 0 for phase in phases)


def _gathered(phases: Phases) -> Phases:
    """Equal steps together, in an order of their own: what is spent in the end does not depend on the order."""
    return merged(sorted(phases, key=lambda phase: (phase.sample_rate, phase.noise_multiplier)))


def _pairs(phases: Phases, adjacency: Adjacency, group_size: int):
    return pairs_of(adjacency, group_size, all(phase.sample_rate == 1 for phase in phases))


def _afforded(grid: Grid, phases: Phases, group_size: int) -> Grid:
    """``grid``, or a coarser one for very many distinct steps or large groups, so that no question takes minutes."""
    distinct = len({(phase.sample_rate, phase.noise_multiplier) for phase in phases})
    work = distinct * group_size
    if grid is _FINE and work > _FEW:
        grid = _MANY
    most = max(2**12, _MOST_WORK // work)
    return Grid(grid.resolution, min(grid.most_points, 1 << (most.bit_length() - 1)))


def _epsilon(phases: Phases, delta: float, accountant: Accountant, adjacency: Adjacency, group_size: int) -> float:
    return _epsilon_in_order(_gathered(phases), delta, accountant, adjacency, group_size)


@lru_cache(maxsize=1024)
def _epsilon_in_order(
    phases: Phases, delta: float, accountant: Accountant, adjacency: Adjacency, group_size: int
) -> float:
    if _noiseless(phases):
        return math.inf
    pairs = _pairs(phases, adjacency, group_size)
    if accountant == "rdp":
        return float(rdp_epsilons(phases, [total_steps(phases)], delta, pairs)[0])
    steps = total_steps(phases)
    composition = Composition(phases, pairs, _afforded(_FINE, phases, group_size), steps)
    return float(composition.worst([steps], lambda loss: loss.epsilon(delta), math.inf)[0])


def _upper_epsilon(phases: Phases, delta: float, adjacency: Adjacency, group_size: int, preview: bool = False) -> float:
    return _upper_epsilon_in_order(_gathered(phases), delta, adjacency, group_size, preview)


@lru_cache(maxsize=1024)
def _upper_epsilon_in_order(
    phases: Phases, delta: float, adjacency: Adjacency, group_size: int, preview: bool
) -> float:
    if _noiseless(phases):
        return math.inf
    if not preview:
        losses = _losses(phases, adjacency, group_size)
        return max((loss.epsilon(delta) for loss in losses), default=math.inf)
    steps = total_steps(phases)
    grid = _afforded(_PREVIEW, phases, group_size)
    composition = Composition(phases, _pairs(phases, adjacency, group_size), grid, steps)
    return float(composition.worst([steps], lambda loss: loss.epsilon(delta), math.inf)[0])


@lru_cache(maxsize=4)
def _losses(phases: Phases, adjacency: Adjacency, group_size: int) -> list[Loss]:
    steps = total_steps(phases)
    pairs = _pairs(phases, adjacency, group_size)
    return Composition(phases, pairs, _afforded(_CURVE, phases, group_size), steps).after(steps)


@lru_cache(maxsize=256)
def _curve(
    phases: Phases,
    steps: tuple[int, ...],
    delta: float,
    accountant: Accountant,
    adjacency: Adjacency,
    group_size: int,
    preview: bool,
) -> np.ndarray:
    found = np.full(len(steps), math.inf)
    if not _noiseless(phases):
        if preview and accountant == "pld":
            total = _upper_epsilon(phases, delta, adjacency, group_size, True)
        else:
            total = _epsilon(phases, delta, accountant, adjacency, group_size)
        found[:] = total
        earlier = [place for place, count in enumerate(steps) if count < max(steps)]
        # Fewer steps never cost more, so the finer total bounds every point.
        if earlier:
            counts = [steps[place] for place in earlier]
            found[earlier] = np.minimum(
                total, _sooner(phases, counts, delta, accountant, adjacency, group_size, preview)
            )
    found.setflags(write=False)
    return found


def _sooner(
    phases: Phases,
    steps: list[int],
    delta: float,
    accountant: Accountant,
    adjacency: Adjacency,
    group_size: int,
    preview: bool,
) -> np.ndarray:
    pairs = _pairs(phases, adjacency, group_size)
    if accountant == "rdp":
        return rdp_epsilons(phases, steps, delta, pairs)
    composition = Composition(phases, pairs, _afforded(_PREVIEW if preview else _CURVE, phases, group_size), min(steps))
    return composition.worst(steps, lambda loss: loss.epsilon(delta), math.inf)
