"""ε of a secret-shared training: against an outsider, and against one curious party, who knows its own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from privlab.encryption.shared.bounds import Bounds, bounds_of, party_deviation
from privlab.encryption.shared.noise import relative_error, tail
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedSettings
from privlab.privacy.accounting import LEAST_NOISE, MOST_EPSILON, curve_of, epsilon_of
from privlab.privacy.phases import Phase

#: Share of δ that is kept for batches that overflow their padding and for noise that is never drawn.
_RESERVE = 2.0**-10


@dataclass(frozen=True)
class Guarantee:
    """What the parties' training guarantees, and the padding that it rests on.

    Attributes:
        settings: of the training.
        sample_rate: q.
        slots: places of each party's padded block; a batch of more of its records is cut, which δ covers.
        bounds: what rounding implies.
        sigma: σ that the accountant counts against an outsider: σ / (1 + margin).
        sigma_party: the same against one party: only the other two thirds of the variance are unknown to it.
        extra: added to every ε for the sampler's distance from a true Gaussian.
        delta: what is left of δ for the accountant.
    """

    settings: SharedSettings
    sample_rate: float
    slots: int
    bounds: Bounds
    sigma: float
    sigma_party: float
    extra: float
    delta: float

    def epsilon(self, steps: Sequence[int]) -> np.ndarray:
        """ε after each of ``steps`` against anybody who is not one of the parties; inf for a reproducible run."""
        return self._curve(self.sigma, steps)

    def epsilon_party(self, steps: Sequence[int]) -> np.ndarray:
        """ε after each of ``steps`` against one party that follows the protocol but looks; it concerns the other
        parties' records. inf for a reproducible run."""
        return self._curve(self.sigma_party, steps)

    def _curve(self, sigma: float, steps: Sequence[int]) -> np.ndarray:
        if self.settings.randomness == "reproducible":
            return np.full(len(steps), math.inf)
        return curve_of((Phase(self.sample_rate, sigma, max(steps)),), steps, self.delta) + self.extra


def guarantee(settings: SharedSettings, records: Sequence[int], inputs: int, classes: int) -> Guarantee:
    """The guarantee of ``settings`` for owners with ``records`` each, a number that is public.

    Raises:
        SharedError: a value out of its bounds, or so little noise that nothing is guaranteed.
    """
    rate = settings.sample_rate(records)
    if settings.delta >= 1 / sum(records):
        raise SharedError(f"delta={settings.delta:g} must be below 1 / {sum(records):,} records.")
    # Bounds grow with the slots, slots with ε, and ε with the bounds: begin with as many slots as there are records.
    slots, found = max(records) + 1, None
    for _ in range(2):
        bounds = bounds_of(settings, inputs, classes, PARTIES * slots)
        found = _with(settings, records, rate, bounds)
        slots = found.slots
    return found


def _with(settings: SharedSettings, records: Sequence[int], rate: float, bounds: Bounds) -> Guarantee:
    sigma = settings.noise_multiplier / (1 + bounds.margin)
    party = sigma * math.sqrt((PARTIES - 1) / PARTIES)
    if party < LEAST_NOISE:
        raise SharedError(
            f"noise_multiplier={settings.noise_multiplier:g} counts as {party:.4g}, below {LEAST_NOISE:g}."
        )
    draws = PARTIES * bounds.dimension * settings.steps
    eta = relative_error(party_deviation(settings))
    kappa = draws * eta / (1 - eta)
    delta = settings.delta * (1 - _RESERVE) * math.exp(-kappa)
    worst = epsilon_of((Phase(rate, party, settings.steps),), delta) + 2 * kappa
    if worst > MOST_EPSILON:
        raise SharedError(
            f"noise_multiplier={settings.noise_multiplier:g} over {settings.steps:,} steps spends ε={worst:,.4g} against one "
            f"party; above {MOST_EPSILON:,g} nothing is guaranteed: add noise."
        )
    # Both worlds are within this chance of the ideal ones, which adds (1 + e^ε) times as much to δ.
    allowed = settings.delta * _RESERVE / (1 + math.exp(min(worst, 700.0))) - tail(draws)
    if allowed <= 0:
        raise SharedError(f"ε={worst:.4g} against one party is too large for delta={settings.delta:g}: add noise.")
    slots = max(_slots(count + 1, rate, allowed / settings.steps) for count in records)
    return Guarantee(settings, rate, slots, bounds, sigma, party, 2 * kappa, delta)


def _slots(records: int, rate: float, chance: float) -> int:
    """Fewest places that a Poisson sample of ``records`` overflows with at most ``chance``."""
    slots = max(1, math.ceil(records * rate))
    while slots < records and binom.sf(slots, records, rate) > chance:
        slots += 1
    return slots
