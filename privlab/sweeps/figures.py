"""A sweep as the charts of comparing take it: facts of its runs, the metric over two settings, the front."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from privlab.analysis.facts import Facts
from privlab.analysis.grid import Grid
from privlab.analysis.pareto import Front, fronts
from privlab.analysis.seeds import groups
from privlab.analysis.settings import SETTINGS
from privlab.sweeps.results import Standing
from privlab.sweeps.space import in_words


def facts_of(standing: Standing, void: Collection[str] = ()) -> list[Facts]:
    """Facts of the sweep's runs that are still here, each named by what was varied.

    Args:
        void: ids of runs whose mechanism was found not to be their plan.
    """
    return [
        replace(Facts.of(result.run, void=result.run.id in void), name=in_words(row.trial.values))
        for row, result in standing.results
        if result.run is not None
    ]


def fronts_of(standing: Standing, void: Collection[str] = ()) -> list[Front]:
    """A front for each data set and promise, of every run that has a point: also of those that still train."""
    return fronts(groups(facts_of(standing, void)), standing.spec.metric)


def mapped(standing: Standing) -> list[str]:
    """Paths of the settings that a map of two can have as a side: those with a list of values."""
    return [axis.path for axis in standing.spec.space.axes if axis.points is not None]


def grid_of(standing: Standing, x: str, y: str, void: Collection[str] = ()) -> Grid:
    """The mean of the metric, over seeds and every other setting, of the runs that finished in each cell; a cell for every pair
    that is to come, too.

    Raises:
        ValueError: ``x`` and ``y`` are the same, or a range of which any value may be taken.
    """
    if x == y or not {x, y} <= set(mapped(standing)):
        raise ValueError(f"x={x} and y={y} must be two different settings with a list of values.")
    columns, rows = _sorted(standing, x), _sorted(standing, y)
    total, n = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), dtype=int)
    used = []
    known = {facts.id: facts for facts in facts_of(standing, void)}
    for row in standing.accepted:
        place = rows.index(row.trial.values[y]), columns.index(row.trial.values[x])
        for result in row.results:
            facts = known.get(result.kept.run_id)
            value = result.metrics.get(standing.spec.metric, math.nan)
            if result.status == "finished" and math.isfinite(value) and not (facts and facts.void):
                total[place] += value
                n[place] += 1
                used += [facts] if facts else []
    mean = np.divide(total, n, out=np.full(total.shape, math.nan), where=n > 0)
    others = tuple(SETTINGS[path].label for path in standing.spec.space.paths if path not in (x, y))
    return Grid(x, y, standing.spec.metric, tuple(columns), tuple(rows), mean, n, tuple(used), others)


def _sorted(standing: Standing, path: str) -> list:
    points = standing.spec.space.axis(path).points
    return sorted(points) if SETTINGS[path].is_number else list(points)
