"""The Pareto front of privacy and usefulness: results that no other one beats on both sides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from privlab.analysis.facts import Promise
from privlab.analysis.seeds import Group
from privlab.metrics import METRICS


@dataclass(frozen=True, eq=False)
class Candidate:
    """A run or a group of repeats as one point.

    Attributes:
        epsilon: spent; of a group the largest; inf without a guarantee.
        value: the metric; of a group the mean.
        low, high: 95 % confidence interval of a group's mean; NaN for a single run.
    """

    group: Group
    epsilon: float
    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def label(self) -> str:
        return self.group.label

    @property
    def n(self) -> int:
        return self.group.n


@dataclass(frozen=True, eq=False)
class Front:
    """The candidates on one data set under one promise, which can be compared.

    Attributes:
        dataset, promise: what they have in common.
        metric: key of the metric; its better direction decides.
        on: the front, by ascending ε: none of the others has at most its ε and is at least as good, with one of them better.
        behind: the others with a guarantee, by ascending ε.
        without: those without a guarantee (ε = ∞), best first. They stand apart and beat nobody.
    """

    dataset: str
    promise: Promise
    metric: str
    on: tuple[Candidate, ...]
    behind: tuple[Candidate, ...]
    without: tuple[Candidate, ...]

    @property
    def chosen_among(self) -> int:
        """Results that the front was chosen among. A front of single noisy results flatters; repeats with other seeds tell."""
        return sum(candidate.n for candidate in (*self.on, *self.behind))

    @property
    def caution(self) -> str:
        """What a reader must know before choosing by it; empty where nothing was chosen."""
        if self.chosen_among < 2:
            return ""
        return (
            f"Chosen among {self.chosen_among} results by looking at them: each ε covers its own run, not the choice. See the "
            "Ledger for what all of them cost together."
        )


def on_front(epsilon: Sequence[float], value: Sequence[float], better: str) -> np.ndarray:
    """Which of n points no other point beats, bool (n,): less or equal ε and an equal or better value, one of them strictly.

    Equal points are on the front together. A point whose ε or value is not finite never is.

    Args:
        better: ``up`` or ``down``, the better direction of ``value``.

    Raises:
        ValueError: sequences of different length, or ``better`` is neither.
    """
    x, y = np.asarray(epsilon, dtype=float), np.asarray(value, dtype=float)
    if x.shape != y.shape:
        raise ValueError(f"{x.size} values of ε and {y.size} of the metric; they must be equally many.")
    if better not in ("up", "down"):
        raise ValueError(f"better={better!r} is neither 'up' nor 'down': without a better direction there is no front.")
    found = np.zeros(x.shape, dtype=bool)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(known):
        return found
    x, y = x[known], y[known] if better == "up" else -y[known]
    order = np.lexsort((-y, x))
    x, y = x[order], y[order]
    # Best of everything with a smaller ε; among equal ε only the best value is on the front.
    first = np.append(True, x[1:] > x[:-1])
    starts = np.flatnonzero(first)
    best_here = y[starts]
    best_before = np.append(-np.inf, np.maximum.accumulate(best_here)[:-1])
    stretch = np.cumsum(first) - 1
    good = (y == best_here[stretch]) & (y > best_before[stretch])
    found[known[order[good]]] = True
    return found


def fronts(groups: Iterable[Group], metric: str = "test_accuracy") -> list[Front]:
    """A front for each data set and promise, the one with the most candidates first.

    Of a group, only the runs that got farthest count. Groups without a guarantee stand beside every front of their data set.
    Groups that did not measure the metric, or have no point yet, are left out; void runs are in no group.

    Raises:
        KeyError: undeclared metric.
        ValueError: a metric of which neither direction is better.
    """
    better = METRICS[metric].better
    if not better:
        raise ValueError(f"metric={metric!r} has no better direction, so there is no front.")
    candidates = [candidate for group in groups if (candidate := _candidate(group, metric))]
    apart: dict[str, list[Candidate]] = {}
    together: dict[tuple[str, Promise], list[Candidate]] = {}
    for each in candidates:
        data = each.group.first.dataset
        if math.isinf(each.epsilon):
            apart.setdefault(data, []).append(each)
        else:
            together.setdefault((data, each.group.promise), []).append(each)
    for data in apart:
        if not any(key[0] == data for key in together):
            together[data, Promise()] = []
    found = []
    for (data, promise), members in together.items():
        mask = on_front([each.epsilon for each in members], [each.value for each in members], better)
        members_on = [each for each, there in zip(members, mask, strict=True) if there]
        behind = [each for each, there in zip(members, mask, strict=True) if not there]
        found.append(
            Front(
                data,
                promise,
                metric,
                tuple(sorted(members_on, key=lambda each: each.epsilon)),
                tuple(sorted(behind, key=lambda each: each.epsilon)),
                tuple(_best_first(apart.get(data, []), better)),
            )
        )
    return sorted(found, key=lambda front: -len(front.on) - len(front.behind))


def best_at(front: Front, epsilon: float) -> Candidate | None:
    """The best result that spent at most ``epsilon``; among equals the one that spent least. None where nothing did.

    ``inf`` takes results without a guarantee in as well. Raises ValueError for an ε that is not above 0.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon={epsilon:g} must be above 0.")
    within = [each for each in front.on if each.epsilon <= epsilon]
    best = within[-1:]
    if math.isinf(epsilon):
        best = [*best, *front.without[:1]]
    return _best_first(best, METRICS[front.metric].better)[0] if best else None


def least_epsilon(front: Front, value: float) -> Candidate | None:
    """The result with the smallest ε that is at least as good as ``value``, rounding apart; None where none with a guarantee is."""
    sign = 1 if METRICS[front.metric].better == "up" else -1
    return next((each for each in front.on if sign * each.value >= sign * value - 1e-9 * abs(value)), None)


def _best_first(candidates: Iterable[Candidate], better: str) -> list[Candidate]:
    sign = -1 if better == "up" else 1
    return sorted(candidates, key=lambda each: (sign * each.value, each.epsilon))


def _candidate(group: Group, metric: str) -> Candidate | None:
    runs = [run for run in group.runs if not math.isnan(run.epsilon) and math.isfinite(run.metric(metric))]
    if not runs:
        return None
    measured = Group(tuple(runs)).farthest
    told = measured.summary(metric)
    return Candidate(measured, measured.epsilon, told.mean, told.low, told.high)
