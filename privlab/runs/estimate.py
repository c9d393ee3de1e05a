"""How long a run will take, from earlier runs on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privlab.config import RunConfig
from privlab.runs.place import place_id

if TYPE_CHECKING:
    from privlab.preflight import Preflight
    from privlab.runs.store import Store

#: The newest runs say best how fast the machine is now.
_LAST = 5


def seconds_for(store: Store, preflight: Preflight) -> float | None:
    """Expected seconds of training and evaluation, None when no similar run is known.

    The seconds per drawn record of the fastest of the newest five runs of the same data set, model, clipping, gradient
    method and device, times the records that the plan draws: other work on the machine makes a run slower and nothing
    makes it faster, so the fastest one says best what the run itself takes, and one run on a busy machine changes nothing.
    Preparing features, queueing and pauses are not in it.
    """
    plan = preflight.plan
    config = preflight.config
    earlier = store.list(dataset=config.data.dataset, model=config.model.name, place=place_id(), deleted=None, limit=50)
    rates = [
        run.seconds / (run.step * run.plan.batch_size)
        for run in earlier
        if run.step > 0 and run.seconds > 0 and _method(run.config) == _method(config)
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
        performance.device,
        views,
        config.privacy.protection,
        *store,
    )
