"""The one object that noise, sampler and accountant are built from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from privlab.config import ConfigError, Problem, RunConfig
from privlab.privacy.accounting import (
    LEAST_DELTA,
    LEAST_NOISE,
    MOST_EPSILON,
    MOST_NOISE,
    OutOfReach,
    epsilon,
    noise_for,
    upper_epsilon,
)


@dataclass(frozen=True)
class PrivacyPlan:
    """What a private training does, as far as its guarantee depends on it. All of it is public.

    Attributes:
        records: N, records trained on.
        batch_size: B, expected records in a batch.
        steps: T, logical batches.
        noise_multiplier: σ, standard deviation of the noise on the summed gradients in multiples of C; 0 adds none.
        max_grad_norm: C, longest gradient of one record; None does not clip.
        delta: δ at which ε is told.
        accountant: ``pld`` or ``rdp``.
        adjacency: neighbouring data sets differ by one record added or removed.
        target_epsilon: the budget that σ was chosen for; None where σ was given.
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

    @property
    def sample_rate(self) -> float:
        """q = B / N, the chance of each record to join a batch."""
        return self.batch_size / self.records

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed: noise on clipped gradients."""
        return self.noise_multiplier > 0 and self.max_grad_norm is not None

    @property
    def epsilon(self) -> float:
        """ε of all steps at δ; inf where the plan is not private."""
        if not self.is_private:
            return math.inf
        return epsilon(self.sample_rate, self.noise_multiplier, self.steps, self.delta, self.accountant)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``sample_rate`` for the reader's convenience."""
        return {**asdict(self), "sample_rate": self.sample_rate}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> PrivacyPlan:
        """The plan that :meth:`to_dict` wrote; ``sample_rate`` is derived and ignored.

        Raises:
            ValueError: a missing or unknown entry, by name.
        """
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in raw.items() if key != "sample_rate"}
        if given.keys() != known:
            wrong = ", ".join(sorted(given.keys() ^ known))
            raise ValueError(f"not a privacy plan: missing or unknown {wrong}.")
        return cls(**given)


def steps_for(epochs: int, records: int, batch_size: int) -> int:
    """T: the whole number of steps nearest to ``epochs`` expected passes, E·N/B with halves up; at least 1."""
    return max(1, (2 * epochs * records + batch_size) // (2 * batch_size))


def logged_steps(steps: int, curve_points: int) -> tuple[int, ...]:
    """About ``curve_points`` steps evenly spread over 1…``steps``, ascending, with the first and the last always in."""
    spread = np.linspace(1, steps, min(max(curve_points, 2), steps))
    return tuple(int(step) for step in np.unique(np.rint(spread)))


def make_plan(config: RunConfig, records: int) -> PrivacyPlan:
    """The plan that ``config`` asks for on ``records`` training records.

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
    if privacy.is_private:
        problems += _delta_problems(privacy.delta, records)
        problems += _noise_problems(privacy.noise_multiplier)
    if problems:
        raise ConfigError(problems)

    plan = PrivacyPlan(
        records=records,
        batch_size=training.batch_size,
        steps=steps_for(training.epochs, records, training.batch_size),
        noise_multiplier=privacy.noise_multiplier or 0.0,
        max_grad_norm=privacy.max_grad_norm if privacy.clipping == "flat" else None,
        delta=privacy.delta,
        target_epsilon=privacy.target_epsilon,
    )
    if plan.target_epsilon is not None:
        try:
            sigma = noise_for(plan.target_epsilon, plan.sample_rate, plan.steps, plan.delta)
        except OutOfReach as error:
            raise ConfigError.at("privacy.target_epsilon", str(error)) from None
        return replace(plan, noise_multiplier=sigma)
    if plan.is_private:
        spent = upper_epsilon(plan.sample_rate, plan.noise_multiplier, plan.steps, plan.delta)
        if spent > MOST_EPSILON:
            cost = f"ε={spent:,.4g}" if math.isfinite(spent) else "an ε too large to reckon"
            raise ConfigError.at(
                "privacy.noise_multiplier",
                f"noise_multiplier={plan.noise_multiplier:g} over {plan.steps:,} steps spends {cost}; above "
                f"ε={MOST_EPSILON:,g} nothing is guaranteed: add noise, or choose noise_multiplier=0 to train without any.",
            )
    return plan


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
