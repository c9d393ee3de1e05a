"""One step of DP-SGD as two distributions, P and Q: what an attacker must tell apart, at worst.

The two data sets differ in a records that only the first holds and b that only the second holds. Each takes part with
probability q, adds at most 1 (in units of C) to the sum, and noise N(0, σ²) covers it. The pair

    P = Σ_i Bin(i; a, q)·N(i, σ²)   against   Q = Σ_j Bin(j; b, q)·N(−j, σ²)

dominates every such step:

1. Given the coin flips of all other records, both outputs are mixtures of Gaussians around the same point; telling the
   attacker these flips only helps (the hockey-stick divergence is jointly convex).
2. Take any test φ and let φ accept noise around that point with probability Φ(z). By Neyman and Pearson it accepts noise
   around any point at most i away with probability at most Φ(z + i/σ), and at most j away at least Φ(z − j/σ). So
   P'(φ) − e^ε·Q'(φ) ≤ P(Y > −zσ) − e^ε·Q(Y > −zσ) for every real ε: the divergence of the pair is never smaller.
3. Dominating pairs compose, also where steps are chosen from earlier results (Zhu, Dong, Wang 2022, arXiv:2106.08567,
   theorem 10), and bound every f-divergence, so Rényi's too.

(a, b) = (1, 0) and (0, 1) are the pairs of Zhu, Dong, Wang 2022 (theorem 11) for one record removed or added; (k, 0) and
(0, k) are the mixtures of Choquette-Choo, Ganesh, Steinke, Thakurta 2024 (arXiv:2310.15526, section 4) with binomial
weights; (1, 1) is the pair that dp-accounting uses for a record replaced by another under Poisson sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from privlab.privacy.loss import Loss

Adjacency = Literal["add-or-remove-one", "replace-one"]
#: Whose presence counts: a record's, or a user's with all of their records.
Unit = Literal["record", "user"]

#: log of the Gaussian mass that is moved to an infinite loss in one step (dp-accounting's default).
_LOG_STEP_TAIL = -50.0
#: Largest group that is accounted.
MOST_GROUP = 1000
#: Binomial mass below which a number of records is left out, and a bound on all that is left out above.
_LEAST_WEIGHT = 1e-30
_LOST = MOST_GROUP * _LEAST_WEIGHT
#: Deviations beyond which no noise comes.
_FAR = 100.0
#: Points of the table from which the loss is inverted, and Newton steps that follow.
_TABLE, _NEWTON = 2048, 3
#: Numbers handled at once.
_CHUNK = 2**20


def neighbours(adjacency: Adjacency, unit: Unit) -> str:
    """What neighbouring data sets differ by, in words."""
    whole = "one record" if unit == "record" else "one user with all of their records"
    return f"{whole} replaced by any other" if adjacency == "replace-one" else f"{whole} added or removed"


@dataclass(frozen=True)
class Pair:
    """P against Q with ``removed`` (a) and ``added`` (b) records that only one of the two data sets holds."""

    removed: int
    added: int


def pairs_of(adjacency: str, group_size: int, always_sampled: bool) -> tuple[Pair, ...]:
    """The pairs whose worst counts: k records all removed or all added, or k records replaced.

    Args:
        adjacency: one of :data:`Adjacency`.
        group_size: k, records that one person holds.
        always_sampled: whether every q is 1; then adding and removing are the same.

    Raises:
        ValueError: unknown adjacency, or k out of bounds.
    """
    if adjacency not in get_args(Adjacency):
        raise ValueError(f"adjacency={adjacency!r} is unknown; choose one of {', '.join(get_args(Adjacency))}.")
    if not 1 <= group_size <= MOST_GROUP or group_size != int(group_size):
        raise ValueError(f"group_size={group_size} must be a whole number from 1 to {MOST_GROUP:,}.")
    if adjacency == "replace-one":
        return (Pair(group_size, group_size),)
    removal = Pair(group_size, 0)
    return (removal,) if always_sampled else (removal, Pair(0, group_size))


class Step:
    """One Poisson-subsampled Gaussian step seen through a :class:`Pair`.

    Args:
        q: sampling rate, 0 < q ≤ 1.
        sigma: noise multiplier, above 0.
        pair: how the two data sets differ.
    """

    def __init__(self, q: float, sigma: float, pair: Pair):
        self.q, self.sigma, self.pair = q, sigma, pair
        self._up, self._log_weights_up = _binomial(pair.removed, q)
        self._down, self._log_weights_down = _binomial(pair.added, q)

    @property
    def parts(self) -> int:
        """Gaussians in both mixtures."""
        return len(self._up) + len(self._down)

    def log_ratio(self, y: np.ndarray) -> np.ndarray:
        """log P/Q at outputs ``y``, ascending with y; shape as ``y``."""
        return self.log_up(y) - self.log_down(y)

    def log_up(self, y: np.ndarray) -> np.ndarray:
        """Log density of P over that of N(0, σ²) at ``y``."""
        return self._log_mixture(y, self._up, self._log_weights_up)

    def log_down(self, y: np.ndarray) -> np.ndarray:
        """Log density of Q over that of N(0, σ²) at ``y``."""
        return self._log_mixture(-y, self._down, self._log_weights_down)

    def _log_mixture(self, y: np.ndarray, shifts: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
        """Log density of Σ w_i·N(i, σ²) over that of N(0, σ²)."""
        if len(shifts) == 1:
            return log_weights[0] + shifts[0] * (y - shifts[0] / 2) / self.sigma**2
        if len(shifts) == 2:
            return np.logaddexp(
                *(lw + s * (y - s / 2) / self.sigma**2 for s, lw in zip(shifts, log_weights, strict=True))
            )
        return _in_chunks(
            lambda part: _log_sum(log_weights + shifts * (part[:, None] - shifts / 2) / self.sigma**2), y, len(shifts)
        )

    def _outputs(self) -> tuple[float, float]:
        """Outputs between which all but e^-50 of P and Q lies."""
        from scipy.special import ndtri_exp

        reach = -float(ndtri_exp(math.log(0.5) + _LOG_STEP_TAIL)) * self.sigma
        return -reach - float(self._down[-1]), reach + float(self._up[-1])

    def bounds(self) -> tuple[float, float]:
        """Smallest and largest finite loss in nats."""
        low, high = self.log_ratio(np.array(self._outputs()))
        return float(low), float(high)

    def deviation(self) -> float:
        """Standard deviation of the loss in nats, when no record takes part."""
        noise = np.linspace(-10, 10, 2001)
        weights = np.exp(-(noise**2) / 2)
        weights /= weights.sum()
        losses = self.log_ratio(noise * self.sigma)
        return math.sqrt(float(weights @ (losses - weights @ losses) ** 2))

    def divergence(self, epsilons: np.ndarray) -> np.ndarray:
        """Exact hockey-stick divergence sup P(S) − e^ε·Q(S) at each ε, shape as ``epsilons``."""
        y = self._cuts(epsilons)
        return np.clip(self._mass(y, 1) - np.exp(epsilons + self._log_mass(y, 1)), 0.0, 1.0)

    def shortfall(self, epsilons: np.ndarray) -> np.ndarray:
        """:meth:`divergence` less its least possible value 1 − e^ε: what e^ε·Q(S) exceeds P(S) by at most. Near 0 where the
        divergence of a negative ε is near 1, and so without its rounding errors."""
        y = self._cuts(epsilons)
        return np.clip(np.exp(epsilons + self._log_mass(y, -1)) - self._mass(y, -1), 0.0, 1.0)

    def _mass(self, y: np.ndarray, side: int) -> np.ndarray:
        """Probability under P of outputs above ``y`` (side 1) or below it (side -1)."""
        from scipy.special import ndtr

        weights = np.exp(self._log_weights_up)
        return _in_chunks(lambda part: ndtr(side * (self._up - part[:, None]) / self.sigma) @ weights, y, self.parts)

    def _log_mass(self, y: np.ndarray, side: int) -> np.ndarray:
        """log of the probability under Q of outputs above ``y`` (side 1) or below it (side -1)."""
        from scipy.special import log_ndtr

        return _in_chunks(
            lambda part: _log_sum(self._log_weights_down + log_ndtr(side * (-self._down - part[:, None]) / self.sigma)),
            y,
            self.parts,
        )

    def _cuts(self, epsilons: np.ndarray) -> np.ndarray:
        """Output at which the loss is ε; one that next to never comes where it always or never exceeds ε."""
        kind = (self.pair.removed, self.pair.added)
        if kind == (1, 1):
            return self._one_replaced(epsilons)
        if kind not in ((1, 0), (0, 1)):
            return self._inverse(epsilons)
        sign = 1 if kind == (1, 0) else -1
        share = np.exp(sign * epsilons) if self.q == 1 else np.expm1(sign * epsilons) + self.q
        odds = np.log(np.maximum(share, 1e-300) / self.q)
        far = _FAR * self.sigma
        return np.clip(sign * (0.5 + self.sigma**2 * odds), -far - 1, far + 1)

    def _one_replaced(self, losses: np.ndarray) -> np.ndarray:
        """Output at each loss of one replaced record: with h = (1 − q)/q·e^(1/2σ²), σ²·(L/2 + asinh(h·sinh(L/2)))."""
        half = np.abs(losses) / 2
        if self.q == 1:
            return losses * self.sigma**2 / 2
        with np.errstate(divide="ignore"):
            # log of h·sinh|L/2|; asinh e^x = logaddexp(x, log(1 + e^2x)/2).
            x = 0.5 / self.sigma**2 + math.log1p(-self.q) - math.log(self.q) + half + np.log(-np.expm1(-2 * half) / 2)
        return np.sign(losses) * self.sigma**2 * (half + np.logaddexp(x, np.logaddexp(0.0, 2 * x) / 2))

    def _inverse(self, losses: np.ndarray) -> np.ndarray:
        """Output at each loss: from a table, then Newton steps within its cell. An error of dy changes the divergence by
        dy² only, for the cut is where it is largest."""
        table = np.linspace(*self._outputs(), _TABLE)
        known = self.log_ratio(table)
        cell = np.clip(np.searchsorted(known, losses) - 1, 0, _TABLE - 2)
        low, high = table[cell], table[cell + 1]
        y = np.interp(losses, known, table)
        for _ in range(_NEWTON):
            slope = self._slope(y)
            step = np.divide(losses - self.log_ratio(y), slope, out=np.zeros_like(y), where=slope > 0)
            y = np.clip(y + step, low, high)
        return y

    def _slope(self, y: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`log_ratio`."""
        up = self._mean_shift(y, self._up, self._log_weights_up)
        return (up + self._mean_shift(-y, self._down, self._log_weights_down)) / self.sigma**2

    def _mean_shift(self, y: np.ndarray, shifts: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
        if len(shifts) == 1:
            return np.full_like(y, shifts[0])

        def mean(part: np.ndarray) -> np.ndarray:
            exponents = log_weights + shifts * (part[:, None] - shifts / 2) / self.sigma**2
            likely = np.exp(exponents - exponents.max(axis=1, keepdims=True))
            return (likely @ shifts) / likely.sum(axis=1)

        return _in_chunks(mean, y, len(shifts))

    def loss(self, spacing: float) -> Loss:
        """The loss on a grid of ``spacing`` nats, by Connect-the-Dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022,
        arXiv:2207.04380, algorithm 1): exact at the grid points, an upper bound between them."""
        low, high = self.bounds()
        # A negative, a zero and a positive loss at least.
        first, last = min(math.floor(low / spacing), -1), max(math.ceil(high / spacing), 1)
        grid = np.arange(first, last + 1) * spacing
        above = np.minimum.accumulate(self.divergence(grid[-first:]))
        below = np.maximum.accumulate(self.shortfall(grid[:-first]))
        # 1 − e^ε adds nothing between grid points, so that the losses below 0 can do without it.
        probs = np.empty(len(grid))
        probs[0] = (below[1] if first < -1 else above[0]) - below[0] * math.exp(spacing)
        probs[1:-first] = _bends(np.append(below, above[0]), spacing)
        probs[-first:-1] = _bends(np.insert(above, 0, below[-1] - math.expm1(-spacing)), spacing)
        probs[:-1] /= math.expm1(spacing)
        probs[-1] = (above[-1] - above[-2]) / math.expm1(-spacing)
        return Loss(first, np.maximum(probs, 0.0), float(above[-1]) + _LOST, spacing)


def _bends(values: np.ndarray, spacing: float) -> np.ndarray:
    """Change of slope, as a function of e^ε, at the inner points of a grid in ε; times e^spacing − 1."""
    rises = np.diff(values)
    return rises[1:] - rises[:-1] * math.exp(spacing)


def _binomial(records: int, q: float) -> tuple[np.ndarray, np.ndarray]:
    """How many of ``records`` can take part, ascending, and the log of each probability.

    Numbers that next to never come are left out: the few count as the least that is kept (more records shift the sum
    further, so the divergence only grows), the many as outputs that give the record away (:data:`_LOST`).
    """
    if records == 0:
        return np.zeros(1), np.zeros(1)
    if q == 1:
        return np.array([float(records)]), np.zeros(1)
    if records == 1:
        return np.array([0.0, 1.0]), np.array([math.log1p(-q), math.log(q)])
    from scipy.stats import binom

    counts = np.arange(records + 1)
    log_weights = binom.logpmf(counts, records, q)
    kept = log_weights > math.log(_LEAST_WEIGHT)
    few = counts < counts[kept][0]
    log_weights[counts[kept][0]] = np.logaddexp.reduce(log_weights[few], initial=log_weights[counts[kept][0]])
    return counts[kept].astype(float), log_weights[kept]


def _log_sum(exponents: np.ndarray) -> np.ndarray:
    """log Σ e^x over the last axis."""
    top = exponents.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(exponents - top).sum(axis=-1))


def _in_chunks(function, y: np.ndarray, width: int) -> np.ndarray:
    """``function`` of parts of ``y`` that make at most some million numbers at once."""
    rows = max(1, _CHUNK // width)
    if len(y) <= rows:
        return function(y)
    return np.concatenate([function(y[start : start + rows]) for start in range(0, len(y), rows)])
