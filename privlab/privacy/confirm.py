"""Other accountants' opinion of the final ε: the library's must agree before the last result is published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from privlab.privacy.accounting import epsilon_of
from privlab.privacy.composition import FINEST
from privlab.privacy.pair import Pair, Step
from privlab.privacy.phases import Phases, merged
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.prv import EXCESS, AccountantTimeout, AccountantUnavailable, prv_epsilon

#: Largest difference at which the two count as agreeing: absolute, and relative for large ε where the grid widens.
TOLERANCE = 1e-3
#: Largest share by which two tight accountants may differ before the run is flagged.
APART = 0.02
#: Distinct steps beyond which the library's grid is widened.
_MANY = 8


class AccountingError(RuntimeError):
    """Two accountants that must agree do not, so no ε can be claimed."""


@dataclass(frozen=True)
class Opinions:
    """ε of one plan by every accountant; inf without noise.

    Attributes:
        pld: PrivLab's own, from privacy-loss distributions.
        pld_library: dp-accounting's ``PLDAccountant``.
        rdp: Rényi.
        prv: Opacus's PRV, an upper bound; None where it gave none.
        reason_prv: why it gave none; empty otherwise.
        flags: what does not fit together, in plain words; empty where all agree.
    """

    pld: float
    pld_library: float
    rdp: float
    prv: float | None
    reason_prv: str
    flags: tuple[str, ...]


@lru_cache(maxsize=32)
def library_epsilon(plan: PrivacyPlan) -> float:
    """ε of the whole plan by dp-accounting's ``PLDAccountant`` (Poisson-subsampled Gaussian steps, the plan's adjacency).

    Takes 0.1 to some seconds, and up to ten where a schedule has many distinct steps, although its grid is then wider (ε is
    above that of the usual grid by some 1e-4 of itself). inf for a plan that is not private.
    """
    if not plan.is_private:
        return math.inf
    # Heavy to load, and needed once a run.
    from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    relation = {
        "add-or-remove-one": NeighboringRelation.ADD_OR_REMOVE_ONE,
        "replace-one": NeighboringRelation.REPLACE_ONE,
    }[plan.adjacency]
    extra, less = plan.slack
    phases = _distinct(plan.phases)
    accountant = PLDAccountant(relation, grid_spacing(phases))
    for phase in phases:
        step = PoissonSampledDpEvent(phase.sample_rate, GaussianDpEvent(phase.noise_multiplier))
        accountant.compose(step, phase.steps)
    return float(accountant.get_epsilon(plan.delta - less)) + extra


def grid_spacing(phases: Phases) -> float:
    """Grid of the library: its default, or where it would take half a minute a thirtieth of a step's deviation."""
    if len(phases) <= _MANY:
        return FINEST
    deviation = min(Step(phase.sample_rate, phase.noise_multiplier, Pair(1, 0)).deviation() for phase in phases)
    return min(max(deviation / 30, FINEST), 10 * FINEST)


def _distinct(phases: Phases) -> Phases:
    return merged(sorted(phases, key=lambda phase: (phase.sample_rate, phase.noise_multiplier)))


def confirm(plan: PrivacyPlan, opinions: Opinions | None = None) -> float:
    """The library's ε for ``plan`` (asked now, unless ``opinions`` hold it), once it agrees with PrivLab's.

    Raises:
        AccountingError: PrivLab's ε is smaller by more than :data:`TOLERANCE`. A larger one is on the safe side.
    """
    theirs, ours = opinions.pld_library if opinions else library_epsilon(plan), plan.epsilon
    if ours < theirs - TOLERANCE * max(1.0, theirs):
        raise AccountingError(
            f"PrivLab counts ε={ours:.6g} and dp-accounting ε={theirs:.6g} for the same plan: no claim is made."
        )
    return theirs


def second_opinions(plan: PrivacyPlan, *, prv_seconds: float = 30.0) -> Opinions:
    """Every accountant's ε of ``plan``, and what does not fit together. Takes some seconds.

    Args:
        prv_seconds: seconds that Opacus's accountant may take; 0 does not ask it.
    """
    if not plan.is_private:
        return Opinions(math.inf, math.inf, math.inf, None, "Without noise there is no ε to compare.", ())
    extra, less = plan.slack
    pld, rdp = (
        epsilon_of(plan.phases, plan.delta - less, accountant=accountant, adjacency=plan.adjacency) + extra
        for accountant in ("pld", "rdp")
    )
    library = library_epsilon(plan)
    prv, reason = None, ""
    if plan.adjacency != "add-or-remove-one":
        reason = f"Opacus's PRV accountant knows adding or removing a record only, not adjacency {plan.adjacency}."
    elif prv_seconds <= 0:
        reason = "Opacus's PRV accountant was not asked."
    else:
        try:
            prv = prv_epsilon(plan.phases, plan.delta - less, limit_seconds=prv_seconds) + extra
        except (AccountantTimeout, AccountantUnavailable) as error:
            reason = str(error)
    return Opinions(pld, library, rdp, prv, reason, _flags(pld, library, rdp, prv))


def _flags(pld: float, library: float, rdp: float, prv: float | None) -> tuple[str, ...]:
    """What does not fit together. PRV states an upper bound, which may stand above the others by what it adds."""
    found = []
    tight = [("PrivLab's PLD", pld, 0.0), ("dp-accounting's PLD", library, 0.0)]
    if prv is not None:
        tight.append(("Opacus's PRV", prv, EXCESS))
    for place, (name, value, above) in enumerate(tight):
        for other, their, other_above in tight[:place]:
            low, high = sorted((value, their))
            allowed = above if value > their else other_above
            # Both infinite agree, one infinite does not. A millionth is below the accountants' own rounding.
            apart = high - low - 2 * allowed - 1e-6 if low != high else 0.0
            if apart > 0 and (math.isinf(high) or apart > APART * high):
                found.append(
                    f"{other} says ε = {their:.4g} and {name} ε = {value:.4g}: two exact accountants differ by more than "
                    f"{APART:.0%}, so one of them is wrong."
                )
    if rdp < pld * (1 - TOLERANCE) - 1e-6:
        found.append(
            f"RDP says ε = {rdp:.4g}, below PLD's {pld:.4g}: Rényi accounting is the looser bound and can only be above, so "
            "one of them is wrong or PLD's grid is too coarse here."
        )
    return tuple(found)
