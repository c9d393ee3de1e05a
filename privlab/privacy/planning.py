"""From settings to the plan: steps, noise for a target, an end at a limit, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from privlab.config import ConfigError, Problem, RunConfig
from privlab.privacy.accounting import (
    LEAST_DELTA,
    LEAST_NOISE,
    MOST_EPSILON,
    MOST_NOISE,
    epsilon_curve,
    upper_epsilon_of,
)
from privlab.privacy.calibration import OutOfReach, scale_for, steps_within
from privlab.privacy.plan import AdaptiveClip, PrivacyPlan
from privlab.privacy.rounding import unrounded_noise_multiplier


def steps_for(epochs: int, records: int, batch_size: int) -> int:
    """T: the whole number of steps nearest to ``epochs`` expected passes, E·N/B with halves up; at least 1."""
    return max(1, (2 * epochs * records + batch_size) // (2 * batch_size))


def logged_steps(steps: int, curve_points: int) -> tuple[int, ...]:
    """About ``curve_points`` steps evenly spread over 1…``steps``, ascending, with the first and the last always in."""
    spread = np.linspace(1, steps, min(max(curve_points, 2), steps))
    return tuple(int(step) for step in np.unique(np.rint(spread)))


def make_plan(config: RunConfig, records: int, dimension: int | None = None) -> PrivacyPlan:
    """The plan that ``config`` asks for on ``records`` training records, or on so many users where these are the unit.

    Args:
        dimension: trained parameters; needed where noise is rounded.

    Raises:
        ConfigError: with every problem found, each naming value and bound.
        ValueError: ``records`` below 1.
    """
    if records < 1:
        raise ValueError(f"records={records} must be at least 1.")
    privacy, training = config.privacy, config.training
    problems = []
    if training.batch_size > records:
        problems.append(
            Problem(
                "training.batch_size",
                f"batch_size={training.batch_size:,} is more than the {records:,} training records.",
            )
        )
    elif privacy.bands * training.batch_size > records:
        most = records // training.batch_size
        problems.append(
            Problem(
                "privacy.bands",
                f"bands={privacy.bands} is more than {most}: each batch comes from one of {privacy.bands} parts of the "
                f"{records:,} records, which must hold batch_size={training.batch_size:,}.",
            )
        )
    if privacy.is_private:
        problems += _delta_problems(privacy.delta, records)
        problems += _noise_problems(privacy.noise_multiplier)
    if problems:
        raise ConfigError(problems)

    steps = steps_for(training.epochs, records, training.batch_size)
    adaptive = None
    if privacy.clipping == "adaptive":
        adaptive = AdaptiveClip(
            privacy.target_quantile, privacy.quantile_rate, privacy.quantile_noise * training.batch_size
        )
    plan = PrivacyPlan(
        records=records,
        batch_size=training.batch_size,
        steps=steps,
        planned_steps=steps,
        noise_multiplier=privacy.noise_multiplier or 0.0,
        max_grad_norm=None if privacy.clipping == "none" else privacy.max_grad_norm,
        delta=privacy.delta,
        accountant=privacy.accountant,
        adjacency=privacy.adjacency,
        target_epsilon=privacy.target_epsilon,
        epsilon_limit=privacy.epsilon_limit or None,
        clipping=privacy.clipping,
        stability=privacy.automatic_stability if privacy.clipping == "automatic" else 0.0,
        adaptive=adaptive,
        clip_schedule=privacy.schedule_of_clip,
        noise_schedule=privacy.schedule_of_noise,
        bands=privacy.bands,
        rounded=privacy.protection == "rounded" and privacy.is_private,
        dimension=dimension if privacy.protection == "rounded" else None,
        owners=config.encryption.sharing_owners,
        dropouts=config.encryption.tolerated_dropouts,
        unit=config.data.unit,
        shuffled=privacy.sampling == "shuffled",
    )
    if plan.target_epsilon is not None:
        plan = _calibrated(plan)
    if not plan.is_private:
        return plan
    _refuse_noise_out_of_range(plan)
    if plan.target_epsilon is None:
        _refuse_no_guarantee(plan)
    return _limited(plan) if plan.epsilon_limit is not None else plan


def _calibrated(plan: PrivacyPlan) -> PrivacyPlan:
    """``plan`` with the smallest σ that keeps to its target ε."""
    unit = replace(plan, noise_multiplier=1.0, rounded=False)
    try:
        extra, less = plan.slack
        scale = scale_for(
            plan.target_epsilon - extra,
            unit.phases,
            plan.delta - less,
            accountant=plan.accountant,
            adjacency=plan.adjacency,
        )
    except OutOfReach as error:
        raise ConfigError.at("privacy.target_epsilon", str(error)) from None
    return replace(plan, noise_multiplier=unrounded_noise_multiplier(scale, plan.dimension) if plan.rounded else scale)


def _refuse_noise_out_of_range(plan: PrivacyPlan) -> None:
    """Schedules and adaptive clipping must leave every step's noise within what can be reckoned."""
    factors = [factor for _, factor in plan.noise_schedule.stretches(plan.planned_steps)]
    least, most = plan.noise_multiplier * min(factors), plan.noise_multiplier * max(factors)
    accounted = min(phase.noise_multiplier for phase in plan.phases)
    if plan.noise_schedule.is_constant and accounted < LEAST_NOISE:
        raise ConfigError.at(
            "privacy.noise_multiplier",
            f"noise_multiplier={plan.noise_multiplier:g}, rounded, counts as {accounted:.8g}, below {LEAST_NOISE:g}.",
        )
    if not (accounted >= LEAST_NOISE and most <= MOST_NOISE):
        path = "privacy.noise_schedule_custom" if plan.noise_schedule.kind == "custom" else "privacy.noise_schedule_end"
        raise ConfigError.at(
            path,
            f"the schedule takes σ from {least:.4g} to {most:.4g}; it must stay between {LEAST_NOISE:g} and {MOST_NOISE:g}.",
        )
    if plan.adaptive and 2 * plan.adaptive.count_noise <= most * 1.01:
        needed = most * 1.01 / (2 * plan.batch_size)
        raise ConfigError.at(
            "privacy.quantile_noise",
            f"quantile_noise={plan.adaptive.count_noise / plan.batch_size:.4g} × B spends the whole budget of σ={most:.4g} "
            f"on the count and leaves none for the gradients; it must be above {needed:.4g}.",
        )


def _refuse_no_guarantee(plan: PrivacyPlan) -> None:
    spent = upper_epsilon_of(plan.phases, plan.delta, adjacency=plan.adjacency)
    if spent > MOST_EPSILON:
        cost = f"ε={spent:,.4g}" if math.isfinite(spent) else "an ε too large to reckon"
        raise ConfigError.at(
            "privacy.noise_multiplier",
            f"noise_multiplier={plan.noise_multiplier:g} over {plan.steps:,} steps spends {cost}; above "
            f"ε={MOST_EPSILON:,g} nothing is guaranteed: add noise, or choose noise_multiplier=0 to train without any.",
        )


def _limited(plan: PrivacyPlan) -> PrivacyPlan:
    """``plan`` cut to the steps that its limit allows."""
    extra, less = plan.slack
    counted = steps_within(
        plan.epsilon_limit - extra, plan.phases, plan.delta - less, accountant=plan.accountant, adjacency=plan.adjacency
    )
    if counted < 1:
        first = float(epsilon_curve(plan, [1])[0])
        raise ConfigError.at(
            "privacy.epsilon_limit",
            f"epsilon_limit={plan.epsilon_limit:g} is passed by the first step already, which spends ε={first:.4g}.",
        )
    return replace(plan, steps=min(plan.steps, counted * plan.bands))


def _delta_problems(delta: float, records: int) -> list[Problem]:
    if delta >= 1 / records:
        bound = f"1 / {records:,} records = {1 / records:.2e}"
        return [
            Problem(
                "privacy.delta", f"delta={delta:g} must be below {bound}; otherwise publishing a whole record passes."
            )
        ]
    if delta < LEAST_DELTA:
        return [
            Problem("privacy.delta", f"delta={delta:g} is below {LEAST_DELTA:g}, the smallest that can be reckoned.")
        ]
    return []


def _noise_problems(sigma: float | None) -> list[Problem]:
    if sigma is None or LEAST_NOISE <= sigma <= MOST_NOISE:
        return []
    message = (
        f"noise_multiplier={sigma:g} is outside {LEAST_NOISE:g} … {MOST_NOISE:g}; choose 0 to train without noise."
    )
    return [Problem("privacy.noise_multiplier", message)]
