"""Points as arrays, one per column, and a copy of them in memory to which only new points are added."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

#: Runs whose points are kept in memory, about 0.4 MB each.
_KEPT = 64


class ColumnCache:
    """The points of the runs that were asked for last. Safe to share between threads."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()

    def after(self, run_id: str, step: int, rows: Callable[[str, int], Sequence[Any]]) -> dict[str, np.ndarray]:
        """Read-only views of the run's points with a step above ``step``.

        Args:
            rows: reads the points of a run after a step: (step, epoch, seconds, epsilon, metrics as JSON), in order.
        """
        with self._lock:
            known = self._known.pop(run_id, None)
            last = int(known["step"][-1]) if known and known["step"].size else 0
            fresh = _as_columns(rows(run_id, last))
            known = _joined(known, fresh) if known else fresh
            self._known[run_id] = known
            while len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))
        first = int(np.searchsorted(known["step"], step, side="right"))
        return {key: values[first:] for key, values in known.items()}


def _as_columns(rows: Sequence[Any]) -> dict[str, np.ndarray]:
    steps, epochs, seconds, epsilons, texts = zip(*rows, strict=True) if rows else ((),) * 5
    found = {
        "step": np.array(steps, dtype=np.int64),
        "epoch": np.array(epochs, dtype=np.float64),
        "seconds": np.array(seconds, dtype=np.float64),
        "epsilon": np.array(epsilons, dtype=np.float64),
    }
    # One parse for all rows: 2,000 separate ones cost more than the query.
    metrics = orjson.loads(f"[{','.join(texts)}]")
    for key in dict.fromkeys(key for item in metrics for key in item):
        found[key] = np.array([item.get(key) for item in metrics], dtype=np.float64)
    return _read_only(found)


def _joined(earlier: dict[str, np.ndarray], later: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both, one after the other; a metric that one of them lacks is NaN there."""
    if not later["step"].size:
        return earlier
    parts = {
        key: [part.get(key, np.full(part["step"].size, np.nan)) for part in (earlier, later)] for key in earlier | later
    }
    return _read_only({key: np.concatenate(both) for key, both in parts.items()})


def _read_only(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for values in columns.values():
        values.flags.writeable = False
    return columns
