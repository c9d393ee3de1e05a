"""Ending hopeless runs early: the median rule (Golovin et al. 2017, Google Vizier, section 3.2), at equal ε or equal step."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from privlab.metrics import METRICS

#: A run is left in peace for this share of its steps, and until so many others were as far.
_WARM_UP = 0.2
LEAST_OTHERS = 4

Columns = Mapping[str, np.ndarray]


def hopeless(mine: Columns, steps: int, others: Sequence[Columns], *, metric: str, along: str) -> str | None:
    """Why a run should end now, as a sentence; None where it should go on.

    A run's best ``metric`` so far is compared with the median of what the others had at the same ε (``along="epsilon"``) or
    ``step``. Runs that never came so far have no say.

    Args:
        mine, others: points of runs as :meth:`privlab.runs.store.Store.columns` gives them.
        steps: planned steps of the run.
    """
    up = METRICS[metric].better == "up"
    if not mine["step"].size or mine["step"][-1] < _WARM_UP * steps:
        return None
    here = float(mine[along][-1])
    best = _best_until(mine, here, metric, along, up)
    if best is None:
        return None
    found = [
        value
        for each in others
        if each[along].size and each[along][-1] >= here
        if (value := _best_until(each, here, metric, along, up)) is not None
    ]
    if len(found) < LEAST_OTHERS:
        return None
    median = statistics.median(found)
    if (best >= median) if up else (best <= median):
        return None
    told = METRICS[metric]
    at = f"ε = {here:.3g}" if along == "epsilon" else f"step {int(here):,}"
    return (
        f"At {at} its best {told.label.lower()} was {told.show(best)}, {'below' if up else 'above'} the median "
        f"{told.show(median)} of {len(found)} other runs."
    )


def _best_until(columns: Columns, here: float, metric: str, along: str, up: bool) -> float | None:
    values = columns.get(metric)
    if values is None:
        return None
    # NaN (no guarantee) compares as False: such a run has no place on the ε axis.
    known = values[(columns[along] <= here) & np.isfinite(values)]
    return float(known.max() if up else known.min()) if known.size else None
