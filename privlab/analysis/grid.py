"""A metric over two settings, cell by cell, and the cells that no run has filled yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privlab.analysis.facts import Facts
from privlab.analysis.importance import varying
from privlab.analysis.settings import SETTINGS
from privlab.metrics import METRICS


@dataclass(frozen=True, eq=False)
class Grid:
    """Values of two settings and the metric's mean in each pair.

    Attributes:
        x, y: dotted paths.
        x_values, y_values: that occur, ascending; choices in the order of their declaration.
        mean: shape (len(y_values), len(x_values)); NaN where no run is.
        n: runs in each cell, same shape.
        runs: that were used.
        others: settings besides these two, in words, that differ within a cell: its mean is over them too.
    """

    x: str
    y: str
    metric: str
    x_values: tuple[Any, ...]
    y_values: tuple[Any, ...]
    mean: np.ndarray
    n: np.ndarray
    runs: tuple[Facts, ...]
    others: tuple[str, ...] = ()

    @property
    def open_cells(self) -> list[tuple[Any, Any]]:
        """Pairs of values that no run has, to launch next."""
        places = np.argwhere(self.n == 0).tolist()
        return [(self.x_values[column], self.y_values[row]) for row, column in places]

    def place(self, key: str) -> tuple[int, int] | None:
        """Row and column of the cell that :func:`cell_key` names; None where there is no such cell."""
        keys = {
            cell_key(x, y): (row, column)
            for row, y in enumerate(self.y_values)
            for column, x in enumerate(self.x_values)
        }
        return keys.get(key)

    def runs_in(self, row: int, column: int) -> list[Facts]:
        """The runs of one cell."""
        wanted = self.x_values[column], self.y_values[row]
        return [run for run in self.runs if (_rounded(run.setting(self.x)), _rounded(run.setting(self.y))) == wanted]


def cell_key(x: Any, y: Any) -> str:
    """The name of the cell with these values: what an address keeps, and a click on the map tells."""
    return f"{x}~{y}"


def grid(runs: Sequence[Facts], x: str, y: str, metric: str = "test_accuracy") -> Grid:
    """The metric at the last points over settings ``x`` and ``y``, given by their paths.

    Void runs, and runs without the metric or one of the settings, are left out.

    Raises:
        KeyError: undeclared setting or metric.
        ValueError: ``x`` and ``y`` are the same.
    """
    METRICS[metric]
    for path in (x, y):
        if path not in SETTINGS:
            raise KeyError(f"{path!r} is no declared setting.")
    if x == y:
        raise ValueError(f"x and y are both {x}; choose two settings.")
    used = [
        run
        for run in runs
        if not run.void
        and math.isfinite(run.metric(metric))
        and run.setting(x) is not None
        and run.setting(y) is not None
    ]
    columns, rows = _values(used, x), _values(used, y)
    total, n = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), dtype=int)
    cells: dict[tuple[int, int], list[Facts]] = {}
    for run in used:
        place = rows.index(_rounded(run.setting(y))), columns.index(_rounded(run.setting(x)))
        total[place] += run.metric(metric)
        n[place] += 1
        cells.setdefault(place, []).append(run)
    mean = np.divide(total, n, out=np.full(total.shape, math.nan), where=n > 0)
    others = dict.fromkeys(path for members in cells.values() for path in varying(members) if path not in (x, y))
    # σ that was found for a target differs with it; where one of the two is an axis, the other says nothing new.
    aims = {"privacy.noise_multiplier", "privacy.target_epsilon"}
    if aims & {x, y}:
        others = dict.fromkeys(path for path in others if path not in aims)
    labels = tuple(SETTINGS[path].label for path in others)
    return Grid(x, y, metric, tuple(columns), tuple(rows), mean, n, tuple(used), labels)


def _values(runs: Sequence[Facts], path: str) -> list[Any]:
    found = {_rounded(run.setting(path)) for run in runs}
    choices = list(SETTINGS[path].choices)
    return sorted(found, key=lambda value: choices.index(value) if value in choices else value)


def _rounded(value: Any) -> Any:
    """σ found for the same target on the same data may differ in the last digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
