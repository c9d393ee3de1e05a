"""What it costs to train many times and keep the best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from privlab.privacy.accounting import LEAST_DELTA, ONE, Accountant, epsilon_of
from privlab.privacy.pair import Adjacency
from privlab.privacy.phases import Phase, Phases

Distribution = Literal["logarithmic", "geometric"]

#: Shape of the truncated negative binomial distribution of the number of runs.
_SHAPES: dict[str, float] = {"logarithmic": 0.0, "geometric": 1.0}


def selection_epsilon(
    phases: Iterable[Phase], delta: float, expected_trials: float, distribution: Distribution
) -> float:
    """ε of publishing only the best of a random number of trainings (Papernot and Steinke 2022, arXiv:2110.03620, theorem 2,
    by dp-accounting's Rényi accountant; one record added or removed).

    It holds only if the number of runs was drawn at random from the named distribution, independently of every result, and
    nothing but the best run's output is published: neither the other runs' results nor how many runs there were. Each run
    may have other settings, if none costs more than ``phases``. For a number of runs that a person chose,
    :func:`naive_epsilon` is what holds.

    Args:
        phases: one training.
        expected_trials: mean of the number of runs, at least 1.
        distribution: ``logarithmic`` (costs least; one run is likeliest, many are rare) or ``geometric`` (after each run,
            stop with chance 1 / ``expected_trials``).

    Raises:
        ValueError: a value out of range, naming the bound.
    """
    given = tuple(phases)
    if distribution not in get_args(Distribution):
        raise ValueError(
            f"distribution={distribution!r} is unknown; choose one of {', '.join(get_args(Distribution))}."
        )
    if not 1 <= expected_trials < float("inf"):
        raise ValueError(f"expected_trials={expected_trials:g} must be at least 1.")
    # The accountant's own checks, and ∞ without noise.
    single = epsilon_of(given, delta, accountant="rdp")
    if single == float("inf"):
        return single
    from dp_accounting import ComposedDpEvent, GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.dp_event import RepeatAndSelectDpEvent
    from dp_accounting.rdp import RdpAccountant

    steps = [
        SelfComposedDpEvent(
            PoissonSampledDpEvent(phase.sample_rate, GaussianDpEvent(phase.noise_multiplier)), phase.steps
        )
        for phase in given
    ]
    event = RepeatAndSelectDpEvent(ComposedDpEvent(steps), float(expected_trials), _SHAPES[distribution])
    return float(RdpAccountant().compose(event).get_epsilon(delta))


def naive_epsilon(
    runs: Iterable[Iterable[Phase]], delta: float, *, accountant: Accountant = "pld", adjacency: Adjacency = ONE
) -> float:
    """ε of publishing **everything** from all ``runs`` on the same data: their composition. 0 for no runs.

    It holds whatever is chosen among the runs, and though each may use what earlier ones published. One condition: which
    runs there are, with their settings, may not depend on earlier results; a bound fixed beforehand and never passed (a
    privacy filter) is needed where it does (Rogers, Roth, Ullman, Vadhan 2016, arXiv:1605.08294).

    Raises:
        ValueError: a value out of range, naming the bound.
    """
    if not LEAST_DELTA <= delta < 1:
        raise ValueError(f"delta={delta:g} must be at least {LEAST_DELTA:g} and below 1.")
    together: Phases = tuple(phase for run in runs for phase in run)
    return epsilon_of(together, delta, accountant=accountant, adjacency=adjacency) if together else 0.0
