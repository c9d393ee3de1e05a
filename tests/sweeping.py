"""What the tests of sweeps share: small specifications, and runs brought to their end as a worker would leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from privlab.config import load_preset
from privlab.metrics import Point
from privlab.runs.record import Run, Status
from privlab.runs.store import Store
from privlab.sweeps.spec import SweepSpec

BASE = load_preset("digits").replace(
    model__name="logistic", privacy__noise_multiplier=2.0, training__epochs=2, training__curve_points=4
)
GRID = {"privacy.max_grad_norm": [0.2, 1.0], "privacy.noise_multiplier": [2.0, 6.0]}


def spec(**changes: Any) -> SweepSpec:
    """Two values of C by two of σ on digits, changed by entry."""
    return SweepSpec.read({"name": "C by σ", "base": BASE.to_dict(), "space": GRID, **changes})


def to_its_end(store: Store, run: Run, accuracy: float, status: Status = Status.FINISHED) -> None:
    """What a worker does to the store: start, one point at the last step, the end."""
    if run.status is Status.QUEUED:
        store.move(run.id, Status.STARTING)
    if store.get(run.id).status is Status.STARTING:
        store.move(run.id, Status.RUNNING)
    store.append(run.id, Point(run.steps, 2.0, 3.0, run.plan.epsilon, {"test_accuracy": accuracy}))
    store.move(run.id, status)


def finish_all(store: Store, sweep_id: str, score: Callable[[Run], float]) -> int:
    """Every run of the sweep that waits in the queue comes to its end; how many there were."""
    waiting = store.list(group=sweep_id, status=[Status.QUEUED])
    for run in waiting:
        to_its_end(store, run, score(run))
    return len(waiting)
