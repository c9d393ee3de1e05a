"""A smooth surface through noisy results: how good a recipe is at each ε, and how sure that is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from scipy.special import stdtrit

from privlab.analysis.facts import Facts
from privlab.analysis.importance import varying
from privlab.analysis.settings import SETTINGS
from privlab.config.knobs import bounds_of
from privlab.metrics import Metric

#: Settings that say which ε a run aims at; a recipe is what is left.
AIM = frozenset({"privacy.target_epsilon", "privacy.noise_multiplier", "privacy.epsilon_limit"})
#: More results than these would take seconds; evenly chosen ones by value stand for all.
MOST_RESULTS = 250
_SEED = 0


@dataclass(frozen=True, eq=False)
class Surface:
    """A Gaussian process over log ε and the settings that vary (Rasmussen and Williams 2006, algorithm 2.1).

    Its scale is that of :func:`to_scale`: logits of shares, logarithms of others, larger is better.

    Attributes:
        places: where results are, shape (n, k), log ε first.
        weights: of the results, shape (n,).
        factor: Cholesky factor of their covariance.
        lengths: length scales, shape (k,).
        height, noise: variances of the surface and of one run around it, both in units of the results' own variance.
        centre, spread: mean and standard deviation of the results.
        widening: factor on every deviation, at least 1, so that left-out results lie as far off as is said.
        coverage: share of left-out results within their 90 % interval, after widening.
        checked: how many results were left out for that, repeats together.
        skill: share of the variance of left-out results that is predicted; at most 1.
    """

    paths: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]
    places: np.ndarray
    weights: np.ndarray
    factor: tuple[np.ndarray, bool]
    lengths: np.ndarray
    height: float
    noise: float
    centre: float
    spread: float
    widening: float
    coverage: float
    checked: int
    skill: float

    def place(self, run: Facts, epsilon: np.ndarray) -> np.ndarray:
        """The recipe of ``run`` at each ε, shape (m, k)."""
        row = _row(run, self.paths, self.kinds)
        return np.column_stack([np.log(epsilon), np.tile(row, (len(epsilon), 1))])

    def mean(self, places: np.ndarray) -> np.ndarray:
        return self.centre + self.spread * (self._with(places, self.places) @ self.weights)

    def covariance(self, places: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
        """Of the surface itself, without the noise of one run, widened; shape (m, m) or (m, other m)."""
        others = places if others is None else others
        left, right = self._with(places, self.places), self._with(others, self.places)
        found = self._with(places, others) - left @ cho_solve(self.factor, right.T)
        return (self.spread * self.widening) ** 2 * found

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of one run around the surface, in its scale."""
        return self.spread * math.sqrt(self.noise)

    def _with(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return _kernel(one, other, self.lengths, self.height)


def to_scale(values: np.ndarray, metric: Metric) -> np.ndarray:
    """Values on the surface's scale: unbounded, even in what matters, larger is better."""
    values = np.asarray(values, dtype=float)
    if metric.unit == "share":
        inside = np.clip(values, 1e-3, 1 - 1e-3)
        found = np.log(inside / (1 - inside))
    else:
        found = np.log(np.maximum(values, 1e-9))
    return found if metric.better == "up" else -found


def from_scale(scaled: float, metric: Metric) -> float:
    """The value that :func:`to_scale` puts at ``scaled``."""
    raw = scaled if metric.better == "up" else -scaled
    return 1 / (1 + math.exp(-raw)) if metric.unit == "share" else math.exp(raw)


def recipe(run: Facts) -> tuple[tuple[str, str], ...]:
    """What decides the outcome besides the ε aimed at."""
    return tuple((path, value) for path, value in run.outcome if path not in AIM)


def fit(runs: Sequence[Facts], metric: Metric) -> Surface:
    """The surface through the last points of ``runs``, which have a finite ε and the metric each.

    Lengths, height and noise are chosen by the likelihood (scikit-learn). Then results are left out, all repeats of a recipe
    and ε at once, and the deviations widened where they turn out too small.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    runs = _thinned(sorted(runs, key=lambda run: (run.epsilon, run.outcome, run.metric(metric.key))), metric.key)
    paths = tuple(path for path in varying(runs) if path not in AIM)
    kinds = tuple(
        () if SETTINGS[path].is_number else tuple(sorted({repr(run.setting(path)) for run in runs})) for path in paths
    )
    x = np.array([[math.log(run.epsilon), *_row(run, paths, kinds)] for run in runs])
    raw = to_scale(np.array([run.metric(metric.key) for run in runs]), metric)
    centre, spread = float(raw.mean()), float(raw.std()) or 1.0
    y = (raw - centre) / spread
    start = np.append(1.0, np.full(x.shape[1] - 1, 2.0))
    # No accuracy rises and falls again within less than a factor of two of ε; shorter waves would be noise that is believed.
    bounds = [(math.log(2), 20.0)] + [(0.2, 20.0)] * (x.shape[1] - 1)
    kernel = ConstantKernel(1.0, (0.1, 30.0)) * Matern(start, bounds, nu=2.5) + WhiteKernel(0.05, (1e-4, 1.0))
    with warnings.catch_warnings():
        # A length at its bound says that the setting does not matter, which is an answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = (
            GaussianProcessRegressor(kernel, n_restarts_optimizer=len(x) < 100, random_state=_SEED).fit(x, y).kernel_
        )
    height, noise = float(fitted.k1.k1.constant_value), float(fitted.k2.noise_level)
    lengths = np.broadcast_to(np.atleast_1d(fitted.k1.k2.length_scale), (x.shape[1],)).copy()
    covariance = _kernel(x, x, lengths, height) + noise * np.eye(len(x))
    factor = cho_factor(covariance, lower=True)
    weights = cho_solve(factor, y)
    missed, deviations, seen = _left_out(runs, covariance, y)
    # By the worse of the mean square and the split-conformal quantile, so that heavy tails are not forgiven.
    z = missed / deviations
    place = min(len(z), math.ceil(0.9 * (len(z) + 1))) - 1
    widening = max(1.0, math.sqrt(float((z**2).mean())), float(np.sort(np.abs(z))[place]) / 1.645)
    # Lengths, height, noise and mean were found from these few results themselves.
    widening *= float(stdtrit(max(2, len(z) - x.shape[1] - 3), 0.95)) / 1.645
    coverage = float((np.abs(z) <= 1.645 * widening).mean())
    varied = float(((seen - seen.mean()) ** 2).sum())
    skill = 1 - float((missed**2).sum()) / varied if varied > 0 else -math.inf
    return Surface(
        paths,
        kinds,
        x,
        weights,
        factor,
        lengths,
        height,
        noise,
        centre,
        spread,
        widening,
        coverage,
        len(z),
        skill,
    )


def _left_out(runs: Sequence[Facts], covariance: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far the mean of each left-out set of repeats is off, how far it was said to be off at most likely, and that mean.

    The block form of Rasmussen and Williams 2006, equations 5.10–5.12: one inverse serves every block.
    """
    inverse = np.linalg.inv(covariance)
    pulled = inverse @ y
    blocks: dict[object, list[int]] = {}
    for place, run in enumerate(runs):
        blocks.setdefault((recipe(run), round(math.log(run.epsilon), 2)), []).append(place)
    missed, deviations, means = [], [], []
    for block in blocks.values():
        within = np.linalg.inv(inverse[np.ix_(block, block)])
        missed.append(float((within @ pulled[block]).mean()))
        deviations.append(math.sqrt(max(float(within.mean()), 1e-12)))
        means.append(float(y[block].mean()))
    return np.array(missed), np.array(deviations), np.array(means)


def _thinned(runs: list[Facts], key: str) -> list[Facts]:
    if len(runs) <= MOST_RESULTS:
        return runs
    order = sorted(range(len(runs)), key=lambda place: (runs[place].metric(key), place))
    chosen = {order[round(at)] for at in np.linspace(0, len(order) - 1, MOST_RESULTS)}
    return [run for place, run in enumerate(runs) if place in chosen]


def _row(run: Facts, paths: Sequence[str], kinds: Sequence[tuple[str, ...]]) -> list[float]:
    """The settings as numbers of about the same size: powers of four for what is above 0, else the share of its bounds."""
    row: list[float] = []
    for path, choices in zip(paths, kinds, strict=True):
        value = run.setting(path)
        if choices:
            row += [float(repr(value) == choice) for choice in choices]
        elif value is None:
            row.append(0.0)
        elif value > 0 and bounds_of(SETTINGS[path].info).get("lt") != 1:
            row.append(math.log(value, 4))
        else:
            row.append(float(value))
    return row


def _kernel(one: np.ndarray, other: np.ndarray, lengths: np.ndarray, height: float) -> np.ndarray:
    """Matérn 5/2, shape (n, m)."""
    r = math.sqrt(5) * cdist(one / lengths, other / lengths)
    return height * (1 + r + r * r / 3) * np.exp(-r)
