"""What a plan means for a person: how often an attacker can be right about one record, or one user.

From the whole trade-off curve of the training, not from its (ε, δ) pair, which by itself says far less: for 875 steps
at q = 0.082 and ε = 4, the pair alone would let an attacker be right 98 times in 100 where the curve allows 68. People understand odds best
(Nanayakkara et al., USENIX Security 2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from privlab.privacy.accounting import ONE, losses_of
from privlab.privacy.pair import Adjacency
from privlab.privacy.phases import Phase, Phases
from privlab.privacy.plan import PrivacyPlan

#: False-positive rate of the strict attacker, who seldom accuses wrongly.
STRICT_RATE = 0.001


@dataclass(frozen=True)
class Odds:
    """Bounds on every attacker who sees the whole training but the noise, and knows all records but one, or all users but one.

    Attributes:
        epsilon: ε at the plan's δ; inf without a guarantee.
        delta: δ of the plan.
        advantage: largest true-positive rate minus false-positive rate, 0…1; δ at ε = 0.
        advantage_of_pair: the bound on it that the (ε, δ) pair alone gives (Kairouz, Oh, Viswanath 2015).
        chance_right: largest chance to be right about a record that is in or out with even odds, 0.5…1.
        strict_hits: largest true-positive rate at a false-positive rate of :data:`STRICT_RATE`.
        strict_certainty: largest chance that an accusation by such a strict attacker is right, from even odds.
        sentences: the same in plain words, rounded up.
    """

    epsilon: float
    delta: float
    advantage: float
    advantage_of_pair: float
    chance_right: float
    strict_hits: float
    strict_certainty: float
    sentences: tuple[str, ...]


def odds(plan: PrivacyPlan) -> Odds:
    """What ``plan`` allows an attacker; certainty where the plan is not private."""
    if not plan.is_private:
        return Odds(math.inf, plan.delta, 1.0, 1.0, 1.0, 1.0, 1.0 / (1.0 + STRICT_RATE), (_no_bound(plan),))
    advantage, hits = _bounds(plan.phases, plan.adjacency, 1)
    extra, less = plan.slack
    # What rounding the noise adds holds for every ε at once: densities differ by a factor e^extra, all but ``less``.
    advantage, hits = min(1.0, advantage + 2 * extra + less), min(1.0, hits * math.exp(extra) + less)
    right = (1 + advantage) / 2
    certainty = hits / (hits + STRICT_RATE)
    sentences = _sentences(plan, right, hits, certainty)
    pair = 1.0 if plan.epsilon > 700 else (math.expm1(plan.epsilon) + 2 * plan.delta) / (math.exp(plan.epsilon) + 1)
    return Odds(plan.epsilon, plan.delta, advantage, pair, right, hits, certainty, sentences)


def _sentences(plan: PrivacyPlan, right: float, hits: float, certainty: float) -> tuple[str, ...]:
    each = plan.unit
    if plan.adjacency == "replace-one":
        question = "which of two records was used" if each == "record" else "which of two users took part"
        wrongly, rightly = "times in which it was the other one", "times in which it was this one"
        accuse = (
            f"An attacker who names one of the two wrongly in at most {_up(STRICT_RATE, 10_000)} of 10,000 {wrongly}"
        )
        found = f"names it rightly in at most {_up(hits, 10_000):,} of 10,000 {rightly}."
    else:
        question = "whether a given record was used" if each == "record" else "whether a given user took part"
        accuse = (
            f"An attacker who wrongly names at most {_up(STRICT_RATE, 10_000)} in 10,000 {each}s that were not used"
        )
        found = f"recognises at most {_up(hits, 10_000):,} in 10,000 that were."
    return (
        f"An attacker who guesses by coin flip {question} is right 50 times in 100; "
        f"one who has seen everything this training publishes is right at most {_up(right, 100)} times in 100.",
        f"{accuse} {found}",
        f"When that attacker, who held it for even odds before, does name a {each}, "
        f"this is right at most {_up(certainty, 100)} times in 100.",
    )


def _no_bound(plan: PrivacyPlan) -> str:
    lack = "no noise is added" if plan.max_grad_norm is not None else "gradients are neither clipped nor noised"
    return f"Nothing limits an attacker here, who may be right every time: {lack}, so no guarantee holds."


def _up(share: float, of: int) -> int:
    """``share`` of ``of``, rounded up so that the sentence stays a bound; rounding errors do not count."""
    return min(of, math.ceil(share * of - 1e-6))


@lru_cache(maxsize=256)
def _bounds(phases: Phases, adjacency: Adjacency, group_size: int) -> tuple[float, float]:
    """Largest advantage, and largest true-positive rate at :data:`STRICT_RATE`, over all pairs of neighbours."""
    losses = losses_of(phases, adjacency=adjacency, group_size=group_size)
    advantage = max((loss.delta(0.0) for loss in losses), default=1.0)
    hits = max((float(loss.true_positive_rates(np.array(STRICT_RATE))) for loss in losses), default=1.0)
    return advantage, hits


def trade_off(
    phases: Iterable[Phase],
    false_positive_rates: Sequence[float],
    *,
    adjacency: Adjacency = ONE,
    group_size: int = 1,
) -> np.ndarray:
    """Largest true-positive rate of any attacker at each false-positive rate, shape (len(false_positive_rates),).

    Over both directions (the record was there, or was not), so an upper bound on every attack; 1 where nothing is
    guaranteed. Its excess is that of :func:`privlab.privacy.accounting.upper_epsilon_of`.

    Raises:
        ValueError: a rate outside 0…1, or as :func:`privlab.privacy.accounting.epsilon_of`.
    """
    rates = np.asarray(false_positive_rates, dtype=float)
    if rates.size and not (np.all(rates >= 0) and np.all(rates <= 1)):
        raise ValueError(f"false_positive_rates from {rates.min():g} to {rates.max():g} must lie between 0 and 1.")
    losses = losses_of(phases, adjacency=adjacency, group_size=group_size)
    return np.max([loss.true_positive_rates(rates) for loss in losses], axis=0) if losses else np.ones(rates.shape)
