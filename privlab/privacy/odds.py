"""What a plan means for a person: how often an attacker can be right about one record.

From the whole trade-off curve of the training, not from its (ε, δ) pair, which by itself says far less: for 875 steps
at q = 0.082 and ε = 4, the pair alone would let an attacker be right 98 times in 100 where the curve allows 68. People understand odds best
(Nanayakkara et al., USENIX Security 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from privlab.privacy.accounting import composed_losses
from privlab.privacy.plan import PrivacyPlan

#: False-positive rate of the strict attacker, who seldom accuses wrongly.
STRICT_RATE = 0.001


@dataclass(frozen=True)
class Odds:
    """Bounds on every attacker who sees the whole training but the noise, and knows all records but one.

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
    advantage, hits = _bounds(plan.sample_rate, plan.noise_multiplier, plan.steps)
    right = (1 + advantage) / 2
    certainty = hits / (hits + STRICT_RATE)
    sentences = (
        f"An attacker who guesses by coin flip whether a given record was used is right 50 times in 100; "
        f"one who has seen everything this training publishes is right at most {_up(right, 100)} times in 100.",
        f"An attacker who wrongly names at most {_up(STRICT_RATE, 10_000)} in 10,000 records that were not used "
        f"recognises at most {_up(hits, 10_000):,} in 10,000 that were.",
        f"When that attacker, who held it for even odds before, does name a record, "
        f"this is right at most {_up(certainty, 100)} times in 100.",
    )
    pair = 1.0 if plan.epsilon > 700 else (math.expm1(plan.epsilon) + 2 * plan.delta) / (math.exp(plan.epsilon) + 1)
    return Odds(plan.epsilon, plan.delta, advantage, pair, right, hits, certainty, sentences)


def _no_bound(plan: PrivacyPlan) -> str:
    lack = "no noise is added" if plan.max_grad_norm is not None else "gradients are neither clipped nor noised"
    return f"Nothing limits an attacker here, who may be right every time: {lack}, so no guarantee holds."


def _up(share: float, of: int) -> int:
    """``share`` of ``of``, rounded up so that the sentence stays a bound; rounding errors do not count."""
    return min(of, math.ceil(share * of - 1e-6))


@lru_cache(maxsize=256)
def _bounds(q: float, sigma: float, steps: int) -> tuple[float, float]:
    """Largest advantage, and largest true-positive rate at :data:`STRICT_RATE`, over both directions."""
    losses = composed_losses(q, sigma, steps)
    advantage = max((loss.delta(0.0) for loss in losses), default=1.0)
    hits = max((loss.true_positive_rate(STRICT_RATE) for loss in losses), default=1.0)
    return advantage, hits
