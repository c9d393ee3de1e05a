"""By how much two sides differ, and how surely: t-tests, Wilson's interval, Holm's correction, the seeds that would decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

#: More repeats than these are not asked for: the difference is then too small to matter here.
MOST_SEEDS = 1000


def wilson(share: float, records: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share measured on ``records`` independent records (Wilson 1927, J. Am. Stat. Assoc. 22).

    Raises:
        ValueError: a number out of range, naming the bound.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share:g} must be between 0 and 1.")
    if records < 1:
        raise ValueError(f"records={records} must be at least 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence:g} must be above 0 and below 1.")
    z = ndtri((1 + confidence) / 2)
    middle = (share + z * z / (2 * records)) / (1 + z * z / records)
    half = z / (1 + z * z / records) * math.sqrt(share * (1 - share) / records + (z / (2 * records)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected so that the chance of any false finding among them stays below α (Holm 1979, Scand. J. Stat. 6).

    NaN stands for a comparison that could not be made: it stays NaN and counts for nothing.
    """
    p = np.asarray(p_values, dtype=float)
    found = np.full(p.shape, math.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * (len(order) - np.arange(len(order)))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return found


@dataclass(frozen=True)
class Difference:
    """Mean of one side minus mean of the other.

    Attributes:
        effect: NaN where a side is empty.
        low, high: confidence interval by Student's t; NaN, like ``p``, where a side has one value or all are the very same.
        p: two-sided p-value of no difference.
        spread: standard deviation of the pairs' differences, or the root mean square of the sides' deviations.
        test: ``paired t``, ``Welch t`` or empty.
    """

    effect: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    spread: float = math.nan
    test: str = ""


def difference(
    x: Sequence[tuple[int | None, float]], y: Sequence[tuple[int | None, float]], alpha: float = 0.05
) -> Difference:
    """What two sides of (seed, value) differ by: paired where both have the same seeds, each once and two at least; else
    Welch's."""
    if not (x and y):
        return Difference(math.nan)
    pairs = _pairs(x, y)
    if pairs is not None:
        return _paired(pairs, alpha)
    one, other = numbers(x), numbers(y)
    return Difference(float(one.mean() - other.mean())) if min(len(x), len(y)) < 2 else _welch(one, other, alpha)


def seeds_needed(
    effect: float, spread: float, *, paired: bool, alpha: float = 0.05, power: float = 0.8, most: int = MOST_SEEDS
) -> int | None:
    """Seeds on each side with which a t-test finds ``effect`` with chance ``power``; None where more than ``most`` are needed.

    Args:
        spread: standard deviation of the pairs' differences (paired), or of one side's values (the root mean square of the
            two).

    By the noncentral t distribution (Cohen 1988, "Statistical power analysis", chapter 2).
    """
    # Loads for a quarter of a second, which the first look at a page need not wait for.
    from scipy.stats import nct

    if spread <= 0:
        return 2
    if effect == 0:
        return None

    def reached(n: int) -> float:
        freedom, shift = (
            (n - 1, effect / spread * math.sqrt(n)) if paired else (2 * n - 2, effect / spread * math.sqrt(n / 2))
        )
        edge = stdtrit(freedom, 1 - alpha / 2)
        # The wrong side's tail: where it is too small for SciPy it comes back as NaN.
        wrong = float(np.nan_to_num(nct.cdf(-edge, freedom, shift)))
        return float(nct.sf(edge, freedom, shift)) + wrong

    if reached(most) < power:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and reached(middle) >= power else (middle, high)
    return max(2, high)


def numbers(values: Sequence[tuple[int | None, float]]) -> np.ndarray:
    """The values alone, shape (n,)."""
    return np.array([value for _, value in values])


def _pairs(x: Sequence, y: Sequence) -> np.ndarray | None:
    """Values of the seeds that both sides have once, shape (n, 2); None where fewer than two are, or a side would lose runs."""
    for side in (x, y):
        if None in (counted := Counter(seed for seed, _ in side)) or max(counted.values()) > 1:
            return None
    left, right = dict(x), dict(y)
    if left.keys() != right.keys() or len(left) < 2:
        return None
    return np.array([[left[seed], right[seed]] for seed in sorted(left)])


def _paired(pairs: np.ndarray, alpha: float) -> Difference:
    apart = pairs[:, 0] - pairs[:, 1]
    n, spread = len(apart), float(apart.std(ddof=1))
    return _student(float(apart.mean()), spread / math.sqrt(n), n - 1, spread, "paired t", alpha)


def _welch(x: np.ndarray, y: np.ndarray, alpha: float) -> Difference:
    """Welch 1947, Biometrika 34: no equal variances assumed."""
    variances = float(x.var(ddof=1)), float(y.var(ddof=1))
    a, b = variances[0] / len(x), variances[1] / len(y)
    freedom = (a + b) ** 2 / (a * a / (len(x) - 1) + b * b / (len(y) - 1)) if a + b > 0 else 1.0
    spread = math.sqrt(sum(variances) / 2)
    return _student(float(x.mean() - y.mean()), math.sqrt(a + b), freedom, spread, "Welch t", alpha)


def _student(effect: float, error: float, freedom: float, spread: float, test: str, alpha: float) -> Difference:
    if error <= 1e-12:
        # Repeats that agree to the last digit are one repeat.
        return Difference(effect, spread=0.0, test=test)
    half = float(stdtrit(freedom, 1 - alpha / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(effect) / error))
    return Difference(effect, effect - half, effect + half, p, spread, test)
