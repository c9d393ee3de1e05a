"""What the runs of two groups say about each other: an effect with its interval, a word, and the reasons in plain sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group
from privlab.analysis.significance import MOST_SEEDS
from privlab.metrics import METRICS, Metric, show_epsilon

Word = Literal["a is better", "b is better", "alike", "undecided", "cannot say"]


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


def reasons(
    verdict: Verdict, a: Group, b: Group, alpha: float, power: float, margin: float, test_half: float
) -> tuple[str, ...]:
    """:attr:`Verdict.why`, the headline first.

    Args:
        alpha, power, margin: as :func:`privlab.analysis.compare.compare` took them.
        test_half: half-width of what other test records would change; NaN: unknown.
    """
    told = METRICS[verdict.metric]
    if verdict.word == "cannot say":
        return (
            "All repeats gave the very same numbers, so they are not independent (the same seed under reproducible randomness?).",
        )
    found = [headline(verdict, told, a, b)]
    how = (
        f"over {verdict.n_a} seeds that both have (paired t-test)"
        if verdict.test == "paired t"
        else f"over {verdict.n_a} and {verdict.n_b} runs (Welch's t-test)"
    )
    found.append(
        f"Difference {_signed(verdict.effect, told)}, {100 * (1 - alpha):g} % interval {_signed(verdict.low, told)} to "
        f"{_signed(verdict.high, told)}, p = {show_p(verdict.p)}, {how}."
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
    if any(_midway(run, verdict.epsilon) for group in (a, b) for run in group.runs):
        found.append(
            f"Some runs were to go on beyond {show_epsilon(verdict.epsilon)}: a run planned to end there may do better than one on its way."
        )
    return tuple(found)


def _midway(run: Facts, epsilon: float) -> bool:
    """Whether the run's budget was for more than ``epsilon``."""
    return run.has_guarantee and math.isfinite(epsilon) and run.epsilon > 1.005 * epsilon


def headline(verdict: Verdict, told: Metric, a: Group, b: Group) -> str:
    """The word as a sentence."""
    where = show_epsilon(verdict.epsilon)
    if verdict.word == "a is better":
        return f"At {where}, {a.label} is better than {b.label} by {told.label.lower()}."
    if verdict.word == "b is better":
        return f"At {where}, {b.label} is better than {a.label} by {told.label.lower()}."
    if verdict.word == "alike":
        return f"At {where}, {a.label} and {b.label} are as good as alike by {told.label.lower()}."
    return f"At {where}, it is not decided whether {a.label} or {b.label} is better by {told.label.lower()}."


def _signed(value: float, told: Metric) -> str:
    return f"{100 * value:+.2f} points" if told.unit == "share" else f"{value:+.4g}"


def _size(value: float, told: Metric) -> str:
    return f"{100 * value:.2f} points" if told.unit == "share" else f"{value:.4g}"


def show_p(p: float) -> str:
    """A p-value as people read it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.3g}"
