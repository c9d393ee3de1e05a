"""Does A beat B at equal ε? An effect with its interval, and a plain word only where the runs bear it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group, at_epsilon
from privlab.analysis.significance import difference, holm, numbers, seeds_needed, wilson
from privlab.analysis.verdict import Verdict, headline, reasons, show_p
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS, SUBSET, Metric, show_epsilon


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
    means = float(numbers(x).mean()), float(numbers(y).mean())
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
    return replace(verdict, why=reasons(verdict, a, b, alpha, power, margin, test_half))


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
        note = f"{asked} comparisons were asked at once; after Holm's correction p = {show_p(p)}"
        ending = ", which is no longer below " + f"{alpha:g}: undecided." if lost else "."
        first = (headline(each, told, a, b), *each.why[1:]) if lost else each.why
        found.append(replace(each, why=(*first, note + ending)))
    return found


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


def _too_few(a: Group, b: Group, x: list, y: list, at: float) -> tuple[str, ...]:
    short = []
    for group, values in ((a, x), (b, y)):
        if not values:
            short.append(f"No run of {group.label} has a value at {show_epsilon(at)}.")
        elif len(values) == 1:
            short.append(
                f"{group.label} has one run at {show_epsilon(at)}: a single run says nothing about its spread. Launch two more seeds at "
                "least."
            )
    return tuple(short)


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
