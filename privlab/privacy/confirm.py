"""A second opinion: the final ε from dp-accounting's own code, before the last result is published."""

from __future__ import annotations

import math

from privlab.privacy.plan import PrivacyPlan

#: Largest difference at which the two count as agreeing: absolute, and relative for large ε where the grid widens.
TOLERANCE = 1e-3


class AccountingError(RuntimeError):
    """Two accountants that must agree do not, so no ε can be claimed."""


def library_epsilon(plan: PrivacyPlan) -> float:
    """ε of the whole plan by dp-accounting's ``PLDAccountant`` (Poisson-subsampled Gaussian, add or remove one record).

    Takes 0.1 to some seconds. inf for a plan that is not private.
    """
    if not plan.is_private:
        return math.inf
    # Heavy to load, and needed once a run.
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    step = dp_accounting.PoissonSampledDpEvent(plan.sample_rate, dp_accounting.GaussianDpEvent(plan.noise_multiplier))
    return float(PLDAccountant().compose(step, plan.steps).get_epsilon(plan.delta))


def confirm(plan: PrivacyPlan) -> float:
    """The library's ε for ``plan``, once it agrees with PrivLab's.

    Raises:
        AccountingError: PrivLab's ε is smaller by more than :data:`TOLERANCE`. A larger one is on the safe side.
    """
    theirs, ours = library_epsilon(plan), plan.epsilon
    if ours < theirs - TOLERANCE * max(1.0, theirs):
        raise AccountingError(
            f"PrivLab counts ε={ours:.6g} and dp-accounting ε={theirs:.6g} for the same plan: no claim is made."
        )
    return theirs
