"""How many runs train at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privlab.runs.store import Store

MOST = 64


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def max_concurrent(store: Store) -> int:
    """What a person chose in the lab, else ``$PRIVLAB_WORKERS``, else one run per core."""
    chosen = store.setting("max_concurrent") or os.environ.get("PRIVLAB_WORKERS")
    return _checked(chosen) if chosen else min(cores(), MOST)


def set_max_concurrent(store: Store, number: int) -> None:
    """Choose how many runs train at once. Raises ValueError outside 1 … 64."""
    store.set_setting("max_concurrent", _checked(number))


def _checked(value: object) -> int:
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(f"max_concurrent={value!r} is refused: give a whole number from 1 to {MOST}.")
    return int(text)
