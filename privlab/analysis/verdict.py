"""Does A beat B at equal ε? An effect with its interval, and a plain word only where the runs bear it out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group, at_epsilon
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS, SUBSET, Metric

Word = Literal["a is better", "b is better", "alike", "undecided", "cannot say"]
#: More repeats than these are not asked for: the difference is then too small to matter here.
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Verdict:
    """What the runs of A and of B say about each other.

    Attributes:
        word: ``a is better`` or ``b is better`` where the corrected p-value is below α; ``alike`` where the whole confidence
            interval lies within the margin; ``undecided`` where more seeds are needed; ``cannot say`` where nothing can be
            reckoned.
        metric: its key.
        epsilon: where A and B are compared; inf: without a guarantee.
        effect: mean of A minus mean of B in the metric's unit (0.01 is one point of accuracy); NaN for ``cannot say``.
        low, high: confidence interval of the effect over seeds, at 1 − α, not corrected for several comparisons.
        low_with_test, high_with_test: the same with the test set's own sampling error, as if A and B had been tested on
            different records. They were tested on the same, so it is wider than need be. Shares only, else NaN.
        p: two-sided p-value; NaN for ``cannot say``.
        p_corrected: after Holm's correction for all comparisons asked at once; equal to ``p`` for one.
        comparisons: how many were asked at once.
        test: ``paired t`` over seeds that both have, or ``Welch t``.
        n_a, n_b: runs that reach ε and were used.
        more_seeds: further seeds **for each side** that would decide at the power asked for, if effect and spread are as they
            look now; 0 where decided, None where :data:`MOST_SEEDS` would not do or where nothing can be reckoned.
        why: the whole in plain sentences.
    """

    word: Word
    metric: str
    epsilon: float
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    low_with_test: float = math.nan
    high_with_test: float = math.nan
    p: float = math.nan
    p_corrected: float = math.nan
    comparisons: int = 1
    test: str = ""
    n_a: int = 0
    n_b: int = 0
    more_seeds: int | None = None
    why: tuple[str, ...] = ()


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
    z = stats.norm.ppf((1 + confidence) / 2)
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
    one, other = _numbers(x), _numbers(y)
    return Difference(float(one.mean() - other.mean())) if min(len(x), len(y)) < 2 else _welch(one, other, alpha)


def compare(
    a: Group,
    b: Group,
    metric: str = "test_accuracy",
    *,
    epsilon: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    margin: float | None = None,
) -> Verdict:
    """Whether A beats B at equal ε.

    Each run's metric is read at ε by :func:`privlab.analysis.seeds.at_epsilon`, so both must have reached it. Runs of the
    same seed are paired where at least two seeds are on both sides and none is there twice; else Welch's test does without
    equal variances.

    Args:
        epsilon: where; None takes the largest ε that every run of both reaches. inf compares runs without a guarantee.
        alpha: chance of a false finding that is accepted.
        power: chance of finding the difference that ``more_seeds`` is reckoned for.
        margin: a smaller difference does not matter; default 0.005 for shares (half a point), 1 % of B's mean for others.

    Raises:
        KeyError: undeclared metric.
        ValueError: a number out of range, or a metric of which neither direction is better.
    """
    told = METRICS[metric]
    if not told.better:
        raise ValueError(f"metric={metric!r} has no better direction, so nothing can beat anything by it.")
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value:g} must be above 0 and below 1.")
    if margin is not None and not margin >= 0:
        raise ValueError(f"margin={margin:g} must be at least 0.")
    if epsilon is not None and not epsilon > 0:
        raise ValueError(f"epsilon={epsilon:g} must be above 0.")
    at = _common(a, b) if epsilon is None else epsilon
    if reason := _unequal(a, b, at):
        return Verdict("cannot say", metric, math.nan if at is None else at, why=(reason,))
    x, y = _values(a, metric, at), _values(b, metric, at)
    if reason := _too_few(a, b, x, y, at):
        return Verdict("cannot say", metric, at, n_a=len(x), n_b=len(y), why=reason)
    found = difference(x, y, alpha)
    means = float(_numbers(x).mean()), float(_numbers(y).mean())
    margin = (0.005 if told.unit == "share" else 0.01 * abs(means[1])) if margin is None else margin
    verdict = Verdict(
        "undecided",
        metric,
        at,
        found.effect,
        found.low,
        found.high,
        p=found.p,
        p_corrected=found.p,
        test=found.test,
        n_a=len(x),
        n_b=len(y),
    )
    test_half = _test_half(a, b, at, metric, *means, alpha)
    if math.isfinite(test_half):
        both = math.hypot(found.high - found.effect, test_half)
        verdict = replace(verdict, low_with_test=found.effect - both, high_with_test=found.effect + both)
    verdict = _judged(verdict, told, alpha, margin)
    if verdict.word == "undecided":
        paired = found.test == "paired t"
        needed = seeds_needed(max(abs(found.effect), margin), found.spread, paired=paired, alpha=alpha, power=power)
        have = min(len(x), len(y))
        verdict = replace(verdict, more_seeds=None if needed is None else max(1, needed - have))
    else:
        verdict = replace(verdict, more_seeds=0)
    return replace(verdict, why=_why(verdict, a, b, alpha, power, margin, test_half))


def compare_all(
    pairs: Sequence[tuple[Group, Group]], metric: str = "test_accuracy", *, alpha: float = 0.05, **about: object
) -> list[Verdict]:
    """Several comparisons asked at once, with Holm's correction: each finding holds beside all the others.

    Args:
        pairs: A and B of each comparison.
        about: as for :func:`compare`.

    Raises as :func:`compare`.
    """
    alone = [compare(a, b, metric, alpha=alpha, **about) for a, b in pairs]
    corrected = holm([each.p for each in alone])
    asked = int(np.isfinite(corrected).sum())
    found = []
    for (a, b), each, p in zip(pairs, alone, corrected.tolist(), strict=True):
        if asked < 2 or not math.isfinite(p):
            found.append(each)
            continue
        each = replace(each, p_corrected=p, comparisons=asked)
        told = METRICS[metric]
        lost = each.word in ("a is better", "b is better") and p >= alpha
        if lost:
            each = replace(each, word="undecided", more_seeds=None)
        note = f"{asked} comparisons were asked at once; after Holm's correction p = {_p(p)}"
        ending = ", which is no longer below " + f"{alpha:g}: undecided." if lost else "."
        first = (_headline(each, told, a, b), *each.why[1:]) if lost else each.why
        found.append(replace(each, why=(*first, note + ending)))
    return found


def seeds_needed(
    effect: float, spread: float, *, paired: bool, alpha: float = 0.05, power: float = 0.8, most: int = MOST_SEEDS
) -> int | None:
    """Seeds on each side with which a t-test finds ``effect`` with chance ``power``; None where more than ``most`` are needed.

    Args:
        spread: standard deviation of the pairs' differences (paired), or of one side's values (the root mean square of the
            two).

    By the noncentral t distribution (Cohen 1988, "Statistical power analysis", chapter 2).
    """
    if spread <= 0:
        return 2
    if effect == 0:
        return None

    def reached(n: int) -> float:
        freedom, shift = (
            (n - 1, effect / spread * math.sqrt(n)) if paired else (2 * n - 2, effect / spread * math.sqrt(n / 2))
        )
        edge = stats.t.ppf(1 - alpha / 2, freedom)
        # The wrong side's tail: where it is too small for SciPy it comes back as NaN.
        wrong = float(np.nan_to_num(stats.nct.cdf(-edge, freedom, shift)))
        return float(stats.nct.sf(edge, freedom, shift)) + wrong

    if reached(most) < power:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and reached(middle) >= power else (middle, high)
    return max(2, high)


# How the numbers come about --------------------------------------------------------------------------------------------------


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
    half = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(effect) / error, freedom))
    return Difference(effect, effect - half, effect + half, p, spread, test)


def _common(a: Group, b: Group) -> float | None:
    """The largest ε that every run of both reaches; inf where no run has a guarantee; None where there is none."""
    runs = [run for group in (a, b) for run in group.farthest.runs if not math.isnan(run.epsilon)]
    if not runs:
        return None
    if all(math.isinf(run.epsilon) for run in runs):
        return math.inf
    finite = [run.epsilon for run in runs if run.has_guarantee]
    return min(finite) if len(finite) == len(runs) else None


def _unequal(a: Group, b: Group, at: float | None) -> str:
    """Why A and B cannot be set beside each other; empty where they can."""
    if a is b or {run.id for run in a.runs} & {run.id for run in b.runs}:
        return "A and B share runs; choose two groups of different runs."
    data = {group.first.dataset for group in (a, b)}
    if len(data) > 1:
        return f"They were tested on different records ({' and '.join(sorted(data))}), which no ε makes comparable."
    if at is None:
        return "One side has a guarantee and the other has none: there is no ε at which both stand."
    if math.isfinite(at) and a.promise != b.promise:
        return f"Their ε is told about different promises ({a.promise}; {b.promise}); train both under one."
    return ""


def _values(group: Group, metric: str, at: float) -> list[tuple[int | None, float]]:
    """Seed and value of each run that reaches ε."""
    runs: Sequence[Facts] = group.farthest.runs if math.isinf(at) else group.runs
    found = [(run.seed, float(at_epsilon(run, metric, at))) for run in runs]
    return [(seed, value) for seed, value in found if math.isfinite(value)]


def _numbers(values: Sequence[tuple[int | None, float]]) -> np.ndarray:
    return np.array([value for _, value in values])


def _too_few(a: Group, b: Group, x: list, y: list, at: float) -> tuple[str, ...]:
    short = []
    for group, values in ((a, x), (b, y)):
        if not values:
            short.append(f"No run of {group.label} has a value at {_at(at)}.")
        elif len(values) == 1:
            short.append(
                f"{group.label} has one run at {_at(at)}: a single run says nothing about its spread. Launch two more seeds at "
                "least."
            )
    return tuple(short)


def _pairs(x: Sequence, y: Sequence) -> np.ndarray | None:
    """Values of the seeds that both sides have once, shape (n, 2); None where fewer than two are, or a side would lose runs."""
    for side in (x, y):
        if None in (counted := Counter(seed for seed, _ in side)) or max(counted.values()) > 1:
            return None
    left, right = dict(x), dict(y)
    if left.keys() != right.keys() or len(left) < 2:
        return None
    return np.array([[left[seed], right[seed]] for seed in sorted(left)])


def _test_half(a: Group, b: Group, at: float, metric: str, mean_a: float, mean_b: float, alpha: float) -> float:
    """Half-width of what drawing other test records would change, as if A and B had been tested on different ones; NaN:
    unknown."""
    if METRICS[metric].unit != "share" or metric != "test_accuracy":
        return math.nan
    counts = [_tested(group, at) for group in (a, b)]
    if None in counts or not (0 <= mean_a <= 1 and 0 <= mean_b <= 1):
        return math.nan
    # Newcombe 1998 (Stat. Med. 17, method 10) puts two Wilson intervals together; the wider side keeps it symmetric.
    low_a, high_a = wilson(mean_a, counts[0], 1 - alpha)
    low_b, high_b = wilson(mean_b, counts[1], 1 - alpha)
    return max(math.hypot(mean_a - low_a, high_b - mean_b), math.hypot(high_a - mean_a, mean_b - low_b))


def _tested(group: Group, at: float) -> int | None:
    """Test records that the values at ε were measured on: all at a run's end, the first 2,000 on the way."""
    facts = DATASETS.get(group.first.dataset)
    if facts is None:
        return None
    ends = all(math.isinf(at) or at >= run.epsilon * 0.995 for run in group.runs)
    return facts.test_records if ends else min(SUBSET, facts.test_records)


def _judged(verdict: Verdict, told: Metric, alpha: float, margin: float) -> Verdict:
    if math.isnan(verdict.p):
        return replace(verdict, word="cannot say")
    if verdict.p_corrected < alpha:
        a_wins = (verdict.effect > 0) == (told.better == "up")
        return replace(verdict, word="a is better" if a_wins else "b is better")
    within = -margin <= verdict.low and verdict.high <= margin
    return replace(verdict, word="alike") if within else verdict


# In words ------------------------------------------------------------------------------------------------------------------


def _why(
    verdict: Verdict, a: Group, b: Group, alpha: float, power: float, margin: float, test_half: float
) -> tuple[str, ...]:
    told = METRICS[verdict.metric]
    if verdict.word == "cannot say":
        return (
            "All repeats gave the very same numbers, so they are not independent (the same seed under reproducible randomness?).",
        )
    found = [_headline(verdict, told, a, b)]
    how = (
        f"over {verdict.n_a} seeds that both have (paired t-test)"
        if verdict.test == "paired t"
        else f"over {verdict.n_a} and {verdict.n_b} runs (Welch's t-test)"
    )
    found.append(
        f"Difference {_signed(verdict.effect, told)}, {100 * (1 - alpha):g} % interval {_signed(verdict.low, told)} to "
        f"{_signed(verdict.high, told)}, p = {_p(verdict.p)}, {how}."
    )
    if verdict.word == "undecided":
        found.append(
            f"About {verdict.more_seeds} more seeds for each side would decide it with chance {100 * power:g} %, if the "
            "difference and the spread are as they look now. Judge when all have ended: a look after each finds differences that are none."
            if verdict.more_seeds is not None
            else f"Even {MOST_SEEDS:,} seeds for each side would not decide it: the difference is too small to matter here."
        )
    if verdict.word == "alike":
        found.append(f"A difference of {_size(margin, told)} or more is ruled out.")
    found.append(
        "The spread over seeds covers initial weights, batches and noise; not the choice of training and test records."
    )
    if math.isfinite(test_half):
        decided = verdict.word in ("a is better", "b is better")
        lost = decided and verdict.low_with_test <= 0 <= verdict.high_with_test
        found.append(
            f"Other test records could move it by up to {_size(test_half, told)} more"
            + (": what is said holds for these test records." if lost else ".")
        )
    if any(at_midway(run, verdict.epsilon) for group in (a, b) for run in group.runs):
        found.append(
            f"Some runs were to go on beyond {_at(verdict.epsilon)}: a run planned to end there may do better than one on its way."
        )
    return tuple(found)


def at_midway(run: Facts, epsilon: float) -> bool:
    """Whether the run's budget was for more than ``epsilon``."""
    return run.has_guarantee and math.isfinite(epsilon) and run.epsilon > 1.005 * epsilon


def _headline(verdict: Verdict, told: Metric, a: Group, b: Group) -> str:
    where = _at(verdict.epsilon)
    if verdict.word == "a is better":
        return f"At {where}, {a.label} is better than {b.label} by {told.label.lower()}."
    if verdict.word == "b is better":
        return f"At {where}, {b.label} is better than {a.label} by {told.label.lower()}."
    if verdict.word == "alike":
        return f"At {where}, {a.label} and {b.label} are as good as alike by {told.label.lower()}."
    return f"At {where}, it is not decided whether {a.label} or {b.label} is better by {told.label.lower()}."


def _at(epsilon: float) -> str:
    return "ε = ∞" if math.isinf(epsilon) else f"ε = {epsilon:.4g}"


def _signed(value: float, told: Metric) -> str:
    return f"{100 * value:+.2f} points" if told.unit == "share" else f"{value:+.4g}"


def _size(value: float, told: Metric) -> str:
    return f"{100 * value:.2f} points" if told.unit == "share" else f"{value:.4g}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.3g}"
