"""Runs that differ by chance alone: grouped, and their mean and spread along ε.

A run's seed decides its initial weights. Noise and batches of a private run are fresh whatever its seed, so runs of one seed
are repeats of one another as well. What the spread of a group covers is therefore initialisation, batches and noise: neither
the choice of the training records nor that of the test records, which are the same for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from privlab.analysis.facts import Facts, Promise
from privlab.metrics import METRICS

#: Points of a common grid of ε.
GRID = 100


@dataclass(frozen=True, eq=False)
class Group:
    """Runs with the same settings but for the seed and what has no effect (:data:`privlab.analysis.facts.WITHOUT_EFFECT`).

    Attributes:
        runs: at least one; void ones are never among them.
    """

    runs: tuple[Facts, ...]

    @property
    def first(self) -> Facts:
        return self.runs[0]

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def name(self) -> str:
        """The runs' common name, or that of the first; of several runs without the seed that a sweep writes into each name."""
        if self.n == 1:
            return self.first.called
        names = {run.name.removesuffix(f", seed {run.seed}") for run in self.runs if run.name}
        return names.pop() if len(names) == 1 else self.first.called

    @property
    def label(self) -> str:
        """:attr:`name`, and the number of runs where there are several."""
        return f"{self.name} ({self.n} runs)" if self.n > 1 else self.name

    @property
    def promise(self) -> Promise:
        return self.first.promise

    @cached_property
    def epsilon(self) -> float:
        """The largest ε that a run of the group spent: each keeps to it. inf where no guarantee is claimed; NaN before a
        point."""
        spent = [run.epsilon for run in self.runs if not math.isnan(run.epsilon)]
        return max(spent, default=math.nan)

    @property
    def farthest(self) -> Group:
        """The runs that got as far as the farthest one: a run that still trains or was stopped early is no repeat of an ended
        one."""
        most = max(run.step for run in self.runs)
        return Group(tuple(run for run in self.runs if run.step == most))

    def final(self, metric: str) -> np.ndarray:
        """Values at the runs' last points, float64 (n,); NaN where not measured. Raises KeyError: undeclared metric."""
        return np.array([run.metric(metric) for run in self.runs])

    def summary(self, metric: str) -> Summary:
        """Mean and spread at the last points; the interval of a share ends at 0 and 1."""
        found = summarise(self.final(metric))
        low, high = within(metric, found.low, found.high)
        return replace(found, low=float(low), high=float(high))


@dataclass(frozen=True)
class Summary:
    """What n measured values say about their mean.

    Attributes:
        n: values that are finite numbers.
        mean: NaN for none.
        sd: sample standard deviation; NaN below two values.
        standard_error: sd / √n.
        low, high: 95 % confidence interval of the mean by Student's t; NaN below two values: one run says nothing of its
            spread.
    """

    n: int
    mean: float
    sd: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Band:
    """Mean and spread of a metric along ε; arrays of one length m.

    Attributes:
        epsilon: the grid, ascending, within what the runs' curves hold: nothing is extrapolated.
        n: runs whose curve reaches each ε.
        mean, sd, low, high: as in :class:`Summary`.
    """

    epsilon: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray


def groups(runs: Iterable[Facts]) -> list[Group]:
    """Runs by what decides their outcome, in the order of each group's first run. Void runs are left out.

    Results read in a publication say too little to be repeats of one another: each stands alone. So does what was imported
    beside what was trained here.
    """
    found: dict[object, list[Facts]] = {}
    for run in runs:
        if run.void:
            continue
        key = (run.provenance, run.outcome) if run.provenance != "reference" else run.id
        found.setdefault(key, []).append(run)
    return [Group(tuple(members)) for members in found.values()]


def within(metric: str, low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """An interval cut to what the metric can be: no share is below 0 or above 1."""
    if METRICS[metric].unit != "share":
        return np.asarray(low), np.asarray(high)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def summarise(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean of the finite ones of ``values`` with its interval. Raises ValueError: ``confidence`` outside (0, 1)."""
    _check(confidence)
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    n = len(known)
    mean = float(known.mean()) if n else math.nan
    if n < 2:
        return Summary(n, mean, math.nan, math.nan, math.nan, math.nan)
    sd = float(known.std(ddof=1))
    error = sd / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    return Summary(n, mean, sd, error, mean - half, mean + half)


def at_epsilon(run: Facts, metric: str, epsilon: float | Sequence[float]) -> np.ndarray:
    """The metric where the run had spent ``epsilon``, linear between its points, shape of ``epsilon``; NaN beyond them.

    ``inf`` asks a run without a guarantee for its last value, and gives NaN for others. A run without a curve has its last
    point only, and that within 0.5 % of the ε asked for: σ found for a target stays a little below it.

    Raises:
        KeyError: undeclared metric.
    """
    METRICS[metric]
    wanted = np.asarray(epsilon, dtype=float)
    if run.void:
        return np.full(wanted.shape, math.nan)
    if not run.has_guarantee:
        last = run.metric(metric) if math.isinf(run.epsilon) else math.nan
        return np.where(np.isinf(wanted), last, math.nan)
    x, y = _curve(run, metric)
    if not len(x):
        return np.full(wanted.shape, math.nan)
    # The last point is measured on all test records and ends slightly below a target.
    near_end = (wanted > x[-1]) & (wanted <= x[-1] * 1.005)
    if len(x) == 1:
        near_end |= np.abs(wanted - x[-1]) <= 0.005 * x[-1]
    asked = np.where(near_end, x[-1], wanted)
    return np.interp(asked, x, y, left=math.nan, right=math.nan)


def band(group: Group, metric: str, *, confidence: float = 0.95, least: int | None = None, points: int = GRID) -> Band:
    """The metric of a group along ε, on a grid that is even in log ε.

    Args:
        confidence: of the band around the mean (Student's t at each ε by itself, not for the whole curve at once).
        least: runs that must reach an ε for it to be on the grid; default all of them, so that the mean is over the same runs
            everywhere and does not jump where one ends.
        points: of the grid.

    Returns:
        An empty band where not so many runs have curves that overlap.

    Raises:
        ValueError: a number out of range, naming the bound.
        KeyError: undeclared metric.
    """
    _check(confidence)
    least = group.n if least is None else least
    if not 1 <= least <= group.n:
        raise ValueError(f"least={least} must be between 1 and the {group.n} runs of the group.")
    if points < 2:
        raise ValueError(f"points={points} must be at least 2.")
    METRICS[metric]
    curves = [_curve(run, metric) for run in group.runs if run.has_guarantee]
    curves = [(x, y) for x, y in curves if len(x)]
    if len(curves) < least:
        empty = np.empty(0)
        return Band(empty, np.empty(0, dtype=int), empty, empty, empty, empty)
    # So many curves have begun at the least-th smallest beginning, and have not ended at the least-th largest end.
    low = sorted(x[0] for x, _ in curves)[least - 1]
    high = sorted((x[-1] for x, _ in curves), reverse=True)[least - 1]
    if not 0 < low <= high:
        empty = np.empty(0)
        return Band(empty, np.empty(0, dtype=int), empty, empty, empty, empty)
    grid = np.geomspace(low, high, points) if high > low else np.array([low])
    grid[0], grid[-1] = low, high
    values = np.stack([np.interp(grid, x, y, left=math.nan, right=math.nan) for x, y in curves])
    known = np.isfinite(values)
    n = known.sum(axis=0)
    grid, values, known, n = grid[n >= least], values[:, n >= least], known[:, n >= least], n[n >= least]
    held = np.where(known, values, 0.0)
    mean = held.sum(axis=0) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / np.where(n > 1, n - 1, math.nan))
        half = stdtrit(np.maximum(n - 1, 1), (1 + confidence) / 2) * sd / np.sqrt(n)
    return Band(grid, n, mean, sd, *within(metric, mean - half, mean + half))


def _curve(run: Facts, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """ε, strictly ascending, and the metric there; the last point in the place of a curve where there is none."""
    held: Mapping[str, np.ndarray] = run.curve
    x = np.asarray(held["epsilon"], dtype=float) if metric in held and "epsilon" in held else np.empty(0)
    y = np.asarray(held[metric], dtype=float) if len(x) else np.empty(0)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(x):
        last = run.metric(metric)
        return (np.array([run.epsilon]), np.array([last])) if math.isfinite(last) else (x, y)
    # ε of neighbouring points can be equal on the accountant's grid; the later one is what that ε gave.
    keep = np.append(x[1:] > x[:-1], True)
    return x[keep], y[keep]


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence:g} must be above 0 and below 1.")
