"""How likely a privately trained model can be to give away a random code that stands in some of its training records.

**The bound.** Let a code be drawn at random from S codes and written into k records. Without these records the model knows nothing
of it, so whatever it says from the code's beginning is right with probability 1/S, and the code is the likeliest of |R| random ones
with probability 1/|R|. An attacker who takes "it was said" as a sign that the records were there has that false-positive rate; the
true-positive rate, the probability that a model trained *with* them says the code, is at most the trade-off curve of the training for
groups of k records at that rate (Dong, Roth and Su 2022, arXiv:1905.02383, sections 2.1 and 2.3; groups as in
:mod:`privlab.privacy.pair`). The probability is over the code, the batches and the noise.
"""

from __future__ import annotations

import math

from privlab.privacy.odds import trade_off
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.rounding import CLAIMED, SUPPORT


def recited_at_most(plan: PrivacyPlan, codes: int, repeats: int) -> float:
    """Bound on the probability that a model trained by ``plan`` gives away a code, 0…1; 1 where nothing is guaranteed.

    Args:
        codes: among how many equally likely codes it was drawn, S; or is ranked, |R|.
        repeats: training records that hold it, k.

    Raises:
        ValueError: a count below 1.
    """
    if codes < 1 or repeats < 1:
        raise ValueError(f"codes={codes} and repeats={repeats} must be at least 1.")
    if not plan.is_private:
        return 1.0
    extra, less = plan.slack
    if plan.rounded and repeats / min(phase.noise_multiplier for phase in plan.phases) > SUPPORT - CLAIMED:
        # What rounding the noise costs is derived for neighbours that lie no further apart than this.
        return 1.0
    (hits,) = trade_off(plan.phases, [1 / codes], adjacency=plan.adjacency, group_size=repeats)
    return min(1.0, float(hits) * math.exp(extra) + less)
