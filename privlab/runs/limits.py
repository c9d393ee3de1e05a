"""How many runs train at once, and on how many threads each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privlab.config import RunConfig
    from privlab.runs.store import Store

#: Bounds of what a person may choose for :func:`max_concurrent`: 1 … MOST.
MOST = 64
#: Runs at once where nobody chose: the four levels of a race start together even on two cores. Workers are of one thread
#: each and yield to everything else, so more runs than cores cost nothing but their own pace.
_AT_LEAST = 4
_MOST_THREADS = 4
#: Models whose steps are long enough for several threads.
_CONVOLVE = ("cnn", "resnet-gn")


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def max_concurrent(store: Store) -> int:
    """What a person chose in the lab, else ``$PRIVLAB_WORKERS``, else one run per core and at least four."""
    chosen = store.setting("max_concurrent") or os.environ.get("PRIVLAB_WORKERS")
    return _checked(chosen) if chosen else min(max(_AT_LEAST, cores()), MOST)


def set_max_concurrent(store: Store, number: int) -> None:
    """Choose how many runs train at once. Raises ValueError outside 1 … 64."""
    store.set_setting("max_concurrent", _checked(number))


def threads_for(config: RunConfig, alone: bool = True) -> int:
    """Threads that torch gets in a run's process.

    torch's threads wait for each other in every operation: where other programs wanted both of two cores, two threads were
    measured to be 4 (CNN) to 20 times (small models) slower than one. So more than one only for a model with convolutions
    that trains ``alone``, and at most half of the cores. (Fixed features bring their own threads.)
    """
    pays = config.model.name in _CONVOLVE and config.performance.device != "cuda"
    return max(1, min(cores() // 2, _MOST_THREADS)) if pays and alone else 1


def _checked(value: object) -> int:
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(f"max_concurrent={value!r} is refused: give a whole number from 1 to {MOST}.")
    return int(text)
