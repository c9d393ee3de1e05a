"""What the store knows about a sweep (many runs of one question), as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SweepState(StrEnum):
    """Where a sweep is."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"

    @property
    def is_over(self) -> bool:
        """Whether it launches nothing more unless a person asks for it."""
        return self in (SweepState.STOPPED, SweepState.FINISHED)


@dataclass(frozen=True)
class TrialRun:
    """One run of a trial. What is known of it is kept here too, so that it counts when the run is removed.

    Attributes:
        seed: its ``training.seed``.
        run_id: the run.
        pruned: why the search ended it early, in a sentence; None where it did not.
        status: the run's status when it was over, or ``deleted``; None before.
        metrics, epsilon, step, seconds: of its last point when it was over.
    """

    seed: int
    run_id: str
    pruned: str | None = None
    status: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    epsilon: float | None = None
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One combination of settings.

    Attributes:
        number: from 0, in the order in which they were proposed.
        values: by dotted path.
        refused: why it cannot be run, in a sentence; None for one that can.
        created: Unix time in seconds.
        runs: those launched for it, by seed.
    """

    number: int
    values: dict[str, Any]
    refused: str | None
    created: float
    runs: tuple[TrialRun, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """One sweep as the store holds it.

    Attributes:
        id: short random name, safe in a URL; also the ``group`` of its runs.
        spec: what it is, as :class:`privlab.sweeps.spec.SweepSpec` reads it.
        state: where it is.
        reason: why it ended or stands still, in a sentence.
        settled: whether its runs were told to pause or stop after the sweep was; True while it runs.
        drawn: number of trials that was drawn before the first one; None where a person chose it.
        extended: how often a person made it longer.
        created, ended: Unix times in seconds; ended is None before.
        seconds: time in which it was driven, pauses left out.
        place: the ``PRIVLAB_HOME`` that holds its runs.
    """

    id: str
    name: str
    spec: dict[str, Any]
    state: SweepState
    reason: str | None
    settled: bool
    drawn: int | None
    extended: int
    created: float
    ended: float | None
    seconds: float
    place: str
