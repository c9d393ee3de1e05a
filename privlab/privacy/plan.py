"""The one object that noise, sampler and accountant are built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from privlab.config.schedule import CONSTANT, Schedule
from privlab.privacy.accounting import epsilon_curve
from privlab.privacy.pair import Adjacency, Unit
from privlab.privacy.phases import Phase, Phases, merged
from privlab.privacy.rounding import rounded_noise_multiplier, rounding_slack


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
        owners: n, data owners with a part of the records each, who add the noise in shares.
        dropouts: owners that may be missing in a step; the shares of the others alone make σ.
        unit: what ``records`` counts and neighbouring data sets differ by: a ``record``, or a ``user`` with all of their records,
            who then counts as one, in N, B and C, too.
        shuffled: whether batches come from shuffled epochs in the place of coin flips, which no accountant here counts.
    """

    records: int
    batch_size: int
    steps: int
    noise_multiplier: float
    max_grad_norm: float | None
    delta: float
    accountant: str = "pld"
    adjacency: Adjacency = "add-or-remove-one"
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
    owners: int = 1
    dropouts: int = 0
    unit: Unit = "record"
    shuffled: bool = False

    @property
    def fewest_owners(self) -> int:
        """m = n − dropouts, the owners whose shares make the noise that ε counts."""
        return self.owners - self.dropouts

    @property
    def sample_rate(self) -> float:
        """q = B / N, the chance of each record to join a batch (of b batches in a row, where the noise has b bands)."""
        return self.batch_size / self.records

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed: noise on clipped gradients of batches by coin flips."""
        return self.noise_multiplier > 0 and self.max_grad_norm is not None and not self.shuffled

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
