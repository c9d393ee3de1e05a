"""How long a run will take: from earlier runs on this machine, else from what a step was measured to cost here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from privlab.config import RunConfig
from privlab.runs import costs
from privlab.runs.place import place_id

if TYPE_CHECKING:
    from privlab.preflight import Preflight
    from privlab.runs.store import Store

#: The newest runs say best how fast the machine is now.
_LAST = 5


@dataclass(frozen=True)
class Estimate:
    """Expected ``seconds`` of training and evaluation, and what they come from: earlier ``runs``, or ``steps`` measured here."""

    seconds: float
    source: Literal["runs", "steps"]


def estimate(store: Store, preflight: Preflight) -> Estimate | None:
    """How long a run will take; None where neither a similar run nor a measured step is known.

    An encrypted store's share of a step is not measured, so there only earlier runs tell.
    """
    if (seconds := seconds_for(store, preflight)) is not None:
        return Estimate(seconds, "runs")
    if preflight.config.encryption.is_store or (known := costs.known(preflight.config)) is None:
        return None
    seconds = known.run_seconds(preflight)
    return None if seconds is None else Estimate(seconds, "steps")


def seconds_for(store: Store, preflight: Preflight) -> float | None:
    """Expected seconds of training and evaluation, None when no similar run is known.

    The seconds per drawn record of the fastest of the newest five runs, trained here, of the same data set, model, clipping, gradient
    method, precision and device, times the records that the plan draws: other work on the machine makes a run slower and
    nothing makes it faster, so the fastest one says best what the run itself takes, and one run on a busy machine changes nothing.
    Preparing features, queueing and pauses are not in it.
    """
    plan = preflight.plan
    config = preflight.config
    earlier = store.list(dataset=config.data.dataset, model=config.model.name, place=place_id(), deleted=None, limit=50)
    rates = [
        run.seconds / (run.step * run.plan.batch_size)
        for run in earlier
        if run.step > 0 and run.seconds > 0 and not run.is_imported and _method(run.config) == _method(config)
    ]
    if not rates:
        return None
    return min(rates[:_LAST]) * plan.steps * plan.batch_size


def _method(config: RunConfig) -> tuple[str, ...]:
    """The settings that decide how the gradients are computed, and what an encrypted store adds to each step."""
    performance, encryption = config.performance, config.encryption
    views = str(config.training.augmentations)
    store = (encryption.mode, str(encryption.owners), str(encryption.masks)) if encryption.is_store else ()
    return (
        config.privacy.clipping,
        performance.gradient_method,
        performance.precision,
        performance.device,
        views,
        config.privacy.protection,
        *store,
    )
