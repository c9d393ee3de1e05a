"""What several data owners' noise in shares promises, and to whom.

Each of n owners adds N(0, (σC)²/m) to its own clipped sum, where m = n − d owners are enough to make the whole noise and d may
drop out. What somebody can subtract does not protect: k owners who work together know their own k shares. Against them the
fewest shares that are left in the sum have the variance (m − k)·(σC)²/m, and σ shrinks by √((m − k)/m). Coin flips are each
owner's own and secret, so sampling protects as before.

Each owner rounds to a grid before the sum, which is not post-processing of the sum. Where shares are many steps of the grid
long, it costs nothing all the same: docs/encryption.md, "Several data owners", has the proof; smaller shares are refused.
"""

from __future__ import annotations

from dataclasses import replace

from privlab.privacy.accounting import LEAST_NOISE, epsilon_of
from privlab.privacy.phases import merged
from privlab.privacy.plan import PrivacyPlan

#: Smallest deviation of one owner's share of the noise, in steps of the grid that updates are rounded to.
LEAST_SHARE = 16.0
#: The grid: multiples of 2⁻²⁴ (privlab.encryption.fixedpoint).
GRID = 2.0**-24


def left_of_noise(plan: PrivacyPlan, colluding: int) -> float:
    """σ's factor √((m − k)/m) against k owners who subtract their own shares; 0 where none is sure to be left."""
    return (max(0, plan.fewest_owners - colluding) / plan.fewest_owners) ** 0.5


def epsilon_against(plan: PrivacyPlan, colluding: int, step: int, repeated: int = 0) -> float:
    """ε at the plan's δ for a record of any other owner, after ``step`` steps, against ``colluding`` owners who pool what
    they know; inf where their shares may be all the noise there is. 0 is anybody who is no owner.

    Args:
        plan: private; of independent noise.
        colluding: k, from 0 to n − 1.
        step: steps done, at least 1.
        repeated: most steps that were done again after a crash. They released nothing to outsiders, but owners saw them;
            each is counted with the smallest σ of all.

    Raises:
        ValueError: k outside its bounds.
    """
    if not 0 <= colluding < plan.owners:
        raise ValueError(f"colluding={colluding} must be 0 to {plan.owners - 1}: one owner is to be protected.")
    return _with_less(plan, left_of_noise(plan, colluding), step, repeated)


def epsilon_alone(plan: PrivacyPlan, step: int, repeated: int = 0) -> float:
    """ε at the plan's δ against somebody who sees one owner's updates by themselves: only that owner's share protects."""
    return _with_less(plan, plan.fewest_owners**-0.5, step, repeated)


def _with_less(plan: PrivacyPlan, factor: float, step: int, repeated: int) -> float:
    if plan.noise_multiplier * factor < LEAST_NOISE:
        return float("inf")
    phases = replace(plan, noise_multiplier=plan.noise_multiplier * factor).phases_until(step)
    if repeated:
        weakest = min(phases, key=lambda phase: phase.noise_multiplier)
        phases = merged((*phases, replace(weakest, steps=repeated)))
    return epsilon_of(phases, plan.delta, accountant=plan.accountant, adjacency=plan.adjacency)


def share_on_grid(plan: PrivacyPlan, factor: float) -> float:
    """Deviation of the smallest share that any step adds, in steps of the grid, after the mean gradient is multiplied by
    ``factor`` (the learning rate where owners send updates, 1 where they send gradients)."""
    steps = plan.planned_steps or plan.steps
    marks = {first for first, _ in (*plan.noise_schedule.stretches(steps), *plan.clip_schedule.stretches(steps))}
    least = min(plan.gradient_noise_at(step) * plan.max_grad_norm_at(step) for step in marks | {steps})
    return factor * least / plan.batch_size / plan.fewest_owners**0.5 / GRID
