"""Stretches of equal steps: the form in which a training's randomness reaches every accountant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """``steps`` equal Poisson-subsampled Gaussian steps in a row.

    Attributes:
        sample_rate: q, the chance of each record to take part in a step, 0 < q ≤ 1.
        noise_multiplier: σ, standard deviation of the noise over the sensitivity; above 0.
        steps: how many, at least 1.
    """

    sample_rate: float
    noise_multiplier: float
    steps: int


Phases = tuple[Phase, ...]


def total_steps(phases: Iterable[Phase]) -> int:
    """Steps of all phases together."""
    return sum(phase.steps for phase in phases)


def first_steps(phases: Iterable[Phase], steps: int) -> Phases:
    """The first ``steps`` steps of ``phases``; all of them where there are fewer."""
    kept, left = [], steps
    for phase in phases:
        if left < 1:
            break
        kept.append(replace(phase, steps=min(left, phase.steps)))
        left -= phase.steps
    return tuple(kept)


def merged(phases: Iterable[Phase]) -> Phases:
    """The same steps with neighbours of equal q and σ joined."""
    joined: list[Phase] = []
    for phase in phases:
        if joined and (joined[-1].sample_rate, joined[-1].noise_multiplier) == (
            phase.sample_rate,
            phase.noise_multiplier,
        ):
            joined[-1] = replace(joined[-1], steps=joined[-1].steps + phase.steps)
        else:
            joined.append(phase)
    return tuple(joined)
