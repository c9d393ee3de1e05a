"""What the store knows about a run, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from privlab.config import RunConfig
from privlab.privacy import PrivacyPlan


class Status(StrEnum):
    """Where a run is. A run moves along :data:`MOVES` only."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        """Whether a process is, or is about to be, at work on the run."""
        return self in (Status.STARTING, Status.RUNNING)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens unless a person asks for it."""
        return self in (Status.STOPPED, Status.FINISHED, Status.FAILED)


#: Allowed next states. Finished → queued happens by extending the run; paused, stopped and failed → queued by resuming
#: it, or → starting by a shell command that trains it itself.
MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.PAUSED, Status.STOPPED, Status.FAILED}),
    Status.STARTING: frozenset({Status.RUNNING, Status.QUEUED, Status.PAUSED, Status.STOPPED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.PAUSED, Status.STOPPED, Status.FINISHED, Status.FAILED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.STARTING, Status.STOPPED}),
    Status.STOPPED: frozenset({Status.QUEUED, Status.STARTING}),
    Status.FINISHED: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.STARTING}),
}


class Reason(StrEnum):
    """Why a run is paused."""

    PERSON = "person"
    APP_CLOSED = "app-closed"
    APP_GONE = "app-gone"
    PASSPHRASE = "passphrase"
    TERMINATED = "terminated"

    @property
    def explanation(self) -> str:
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Reason.PERSON: "Paused by a person.",
    Reason.APP_CLOSED: "Paused because the app was closed.",
    Reason.APP_GONE: "Paused because the app ended without notice; it goes on by itself when the app is back.",
    Reason.PASSPHRASE: "Waiting for its passphrase: resume it and enter the passphrase.",
    Reason.TERMINATED: "Paused because its process was asked to end (SIGTERM).",
}


@dataclass(frozen=True)
class Run:
    """One run as the store holds it.

    Attributes:
        id: short random name, safe in a URL and as a folder name.
        created, started, ended, heartbeat, deleted: Unix times in seconds, or None.
        step, steps: logical batches done (as of the last point) and planned.
        epsilon: ε spent at the last point; None before the first point, and where no guarantee is claimed.
        metrics: the last point's, by key of :data:`privlab.metrics.METRICS`.
        seconds: training and evaluation time up to the last point, pauses left out.
        requested: ``pause``, ``stop`` or None: asked for and not yet honoured.
        reason: why the run is, or is about to be, paused.
        error: what went wrong, in plain words.
        resumed_from: step that the present or last worker began at; None when it began at the beginning.
        group: shared by runs launched together.
        place: the ``PRIVLAB_HOME`` that holds the run's files.
        pid, process_started: the worker's process, and when that began (to tell it from a later process of that number).
        attempt: how many times a worker was started for it. A worker writes only while its own attempt is the last.
        origin: the run's id where it was trained, if that was elsewhere and it was imported; None if it was trained here.
        foreground: trained by the process of a shell command, not by the app; closing the app leaves it alone.
    """

    id: str
    name: str
    status: Status
    config: RunConfig
    plan: PrivacyPlan
    created: float
    started: float | None = None
    ended: float | None = None
    heartbeat: float | None = None
    step: int = 0
    steps: int = 0
    epsilon: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    requested: str | None = None
    reason: Reason | None = None
    error: str | None = None
    resumed_from: int | None = None
    group: str | None = None
    place: str = ""
    pid: int | None = None
    process_started: float | None = None
    attempt: int = 0
    foreground: bool = False
    deleted: float | None = None
    origin: str | None = None

    @property
    def is_imported(self) -> bool:
        """Whether it was trained elsewhere and came here as a bundle."""
        return self.origin is not None

    @property
    def needs_passphrase(self) -> bool:
        """Whether its files open only with a passphrase that a person must enter."""
        return self.config.encryption.needs_passphrase

    @property
    def epoch(self) -> float:
        """Expected passes over the data so far."""
        return self.step * self.plan.sample_rate


@dataclass(frozen=True)
class Annotation:
    """What a person says about a run; it changes nothing of what the run is.

    Attributes:
        tags: single words, for filters.
        note: free text.
        pinned: listed before all others.
        archived: put away: listed only when archived runs are asked for. It still counts in the ledger.
    """

    tags: frozenset[str] = frozenset()
    note: str = ""
    pinned: bool = False
    archived: bool = False


@dataclass(frozen=True)
class Spent:
    """What one run has taken from the privacy of its data set's records; outlives the run.

    Attributes:
        step: logical batches whose result was released.
        created: Unix time in seconds.
        state: the run's status, ``deleted``, or ``removed`` where only this is left of it.
        void: the mechanism was found not to be what the plan says, so that the plan's ε does not hold.
        imported: trained elsewhere, which took from the same records all the same.
    """

    run_id: str
    name: str
    dataset: str
    randomness: str
    plan: PrivacyPlan
    step: int
    created: float
    state: str
    void: bool = False
    imported: bool = False

    @classmethod
    def of(cls, run: Run, *, void: bool = False) -> Spent:
        """What ``run`` has spent up to its last point."""
        state = run.status.value if run.deleted is None else "deleted"
        data, randomness = run.config.data.dataset, run.config.privacy.randomness
        return cls(run.id, run.name, data, randomness, run.plan, run.step, run.created, state, void, run.is_imported)

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed: noise on clipped gradients that nobody can draw again, and no check failed."""
        return not self.void and self.plan.is_private and self.randomness != "reproducible"


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a run: ``id`` grows with time, ``time`` is Unix seconds."""

    id: int
    run_id: str
    time: float
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)
