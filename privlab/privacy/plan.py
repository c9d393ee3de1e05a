"""The one object that noise, sampler and accountant are built from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from privlab.config import ConfigError, Problem, RunConfig
from privlab.config.schedule import CONSTANT, Schedule
from privlab.privacy.accounting import (
    LEAST_DELTA,
    LEAST_NOISE,
    MOST_EPSILON,
    MOST_NOISE,
    epsilon_curve,
    upper_epsilon_of,
)
from privlab.privacy.calibration import OutOfReach, scale_for, steps_within
from privlab.privacy.phases import Phase, Phases, merged
from privlab.privacy.rounding import rounded_noise_multiplier, rounding_slack, unrounded_noise_multiplier


@dataclass(frozen=True)
class AdaptiveClip:
    """How C follows a quantile of the gradient norms (Andrew, Thakkar, McMahan, Ramaswamy 2021, arXiv:1905.03871).

    Attributes:
        quantile: γ, the share of gradients that should not be shortened.
        rate: η_C; each step multiplies C by exp(−η_C·(b̃ − γ)) with the noisy share b̃ of gradients not shortened.
        count_noise: σ_b, standard deviation of the noise on that count, whose sensitivity is ½.
    """

    quantile: float
    rate: float
    count_noise: float

    def gradient_noise(self, noise_multiplier: float) -> float:
        """z with z⁻² + (2σ_b)⁻² = σ⁻² (theorem 1 there): gradients at z and the count at σ_b cost what one query at σ does."""
        return (noise_multiplier**-2 - (2 * self.count_noise) ** -2) ** -0.5


@dataclass(frozen=True)
class PrivacyPlan:
    """What a private training does, as far as its guarantee depends on it. All of it is public.

    Attributes:
        records: N, records trained on.
        batch_size: B, expected records in a batch.
        steps: T, logical batches that are trained.
        noise_multiplier: σ of the first step, standard deviation of the noise on the summed gradients in multiples of C;
            0 adds none.
        max_grad_norm: C of the first step, longest contribution of one record; None does not clip.
        delta: δ at which ε is told.
        accountant: ``pld`` or ``rdp``.
        adjacency: neighbouring data sets differ by one record added or removed (``add-or-remove-one``), or replaced by
            another (``replace-one``).
        target_epsilon: the budget that σ was chosen for; None where σ was given.
        planned_steps: steps of all epochs, over which schedules stretch; more than ``steps`` where a limit ends the run.
        epsilon_limit: ε that no step may exceed; None trains all planned steps.
        clipping: ``flat``, ``per-layer``, ``automatic``, ``adaptive`` or ``none``.
        stability: γ of automatic clipping.
        adaptive: how C is learnt; None where it is not.
        clip_schedule, noise_schedule: factors on C and σ.
        bands: b, strategy bands of correlated noise (banded matrix factorisation); 1 is independent noise.
        rounded: whether sum and noise are added on a grid (:mod:`privlab.privacy.rounding`).
        dimension: d, trained parameters; only rounding needs it.
    """

    records: int
    batch_size: int
    steps: int
    noise_multiplier: float
    max_grad_norm: float | None
    delta: float
    accountant: str = "pld"
    adjacency: str = "add-or-remove-one"
    target_epsilon: float | None = None
    planned_steps: int | None = None
    epsilon_limit: float | None = None
    clipping: str = "flat"
    stability: float = 0.0
    adaptive: AdaptiveClip | None = None
    clip_schedule: Schedule = CONSTANT
    noise_schedule: Schedule = CONSTANT
    bands: int = 1
    rounded: bool = False
    dimension: int | None = None

    @property
    def sample_rate(self) -> float:
        """q = B / N, the chance of each record to join a batch (of b batches in a row, where the noise has b bands)."""
        return self.batch_size / self.records

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed: noise on clipped gradients."""
        return self.noise_multiplier > 0 and self.max_grad_norm is not None

    def noise_multiplier_at(self, step: int) -> float:
        """σ of ``step`` (from 1), as it is accounted."""
        return self.noise_multiplier * self.noise_schedule.at(step, self._horizon)

    def gradient_noise_at(self, step: int) -> float:
        """Standard deviation of the noise on the gradients of ``step`` over C; above σ where the count of adaptive
        clipping takes a share."""
        sigma = self.noise_multiplier_at(step)
        return self.adaptive.gradient_noise(sigma) if self.adaptive and sigma else sigma

    def max_grad_norm_at(self, step: int) -> float | None:
        """C of ``step`` (from 1); with adaptive clipping only the first is planned."""
        if self.max_grad_norm is None:
            return None
        return self.max_grad_norm * self.clip_schedule.at(step, self._horizon)

    @property
    def _horizon(self) -> int:
        return self.planned_steps or self.steps

    @property
    def phases(self) -> Phases:
        """All steps as the accountants count them; empty without noise."""
        return self.phases_until(self.steps)

    def phases_until(self, step: int) -> Phases:
        """The first ``step`` training steps as the accountants count them; empty without noise.

        With b bands a record can join every b-th batch only, with chance b·q, and ⌈step/b⌉ Poisson steps are counted
        (Choquette-Choo et al. 2023, arXiv:2306.08153, theorem 4).
        """
        if not self.is_private or step < 1:
            return ()
        if self.bands > 1:
            return (Phase(self.bands * self.sample_rate, self.noise_multiplier, -(-step // self.bands)),)
        marks = [mark for mark in self.noise_schedule.stretches(self._horizon) if mark[0] <= step]
        ends = [first - 1 for first, _ in marks[1:]] + [step]
        return merged(
            Phase(self.sample_rate, self._accounted(self.noise_multiplier * factor), end - first + 1)
            for (first, factor), end in zip(marks, ends, strict=True)
        )

    def _accounted(self, sigma: float) -> float:
        """σ less what rounding the sum to the grid adds to its sensitivity."""
        return rounded_noise_multiplier(sigma, self.dimension) if self.rounded else sigma

    @property
    def slack(self) -> tuple[float, float]:
        """What the sampler of rounded noise adds to ε and to δ; none otherwise."""
        return rounding_slack(self.dimension, self.steps, self.delta) if self.rounded else (0.0, 0.0)

    @property
    def epsilon(self) -> float:
        """ε of all steps at δ; inf where the plan is not private."""
        return float(epsilon_curve(self, [self.steps])[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``sample_rate`` for the reader's convenience."""
        return {**asdict(self), "sample_rate": self.sample_rate}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> PrivacyPlan:
        """The plan that :meth:`to_dict` wrote; ``sample_rate`` is derived and ignored, what is not said has its default.

        Raises:
            ValueError: a missing or unknown entry, by name.
        """
        given = {key: value for key, value in raw.items() if key != "sample_rate"}
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        wrong = (given.keys() - known) | (needed - given.keys())
        if wrong:
            raise ValueError(f"not a privacy plan: missing or unknown {', '.join(sorted(wrong))}.")
        for key in ("clip_schedule", "noise_schedule"):
            if isinstance(given.get(key), Mapping):
                marks = tuple((int(step), float(factor)) for step, factor in given[key].get("custom", ()))
                given[key] = Schedule(**{**given[key], "custom": marks})
        if isinstance(given.get("adaptive"), Mapping):
            given["adaptive"] = AdaptiveClip(**given["adaptive"])
        return cls(**given)


def steps_for(epochs: int, records: int, batch_size: int) -> int:
    """T: the whole number of steps nearest to ``epochs`` expected passes, E·N/B with halves up; at least 1."""
    return max(1, (2 * epochs * records + batch_size) // (2 * batch_size))


def logged_steps(steps: int, curve_points: int) -> tuple[int, ...]:
    """About ``curve_points`` steps evenly spread over 1…``steps``, ascending, with the first and the last always in."""
    spread = np.linspace(1, steps, min(max(curve_points, 2), steps))
    return tuple(int(step) for step in np.unique(np.rint(spread)))


def make_plan(config: RunConfig, records: int, dimension: int | None = None) -> PrivacyPlan:
    """The plan that ``config`` asks for on ``records`` training records.

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
