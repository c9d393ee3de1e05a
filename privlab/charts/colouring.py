"""Colours that say what a setting was: one for each choice, or a scale for numbers that are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privlab.analysis.facts import Facts
from privlab.analysis.settings import SETTINGS
from privlab.charts.style import COLOURS, LINE_SCALE

#: The last colour is for runs in which the setting has nothing to say.
_NONE = COLOURS[-1]


@dataclass(frozen=True)
class Colouring:
    """Colours of runs by one setting.

    Attributes:
        path: of the setting.
        by_run: ``#rrggbb`` of each run, by id.
        legend: words and colour of each value, in order; of a scale its two ends.
        is_scale: values between the legend's two ends have colours between theirs.
    """

    path: str
    by_run: dict[str, str]
    legend: tuple[tuple[str, str], ...]
    is_scale: bool = False


def colouring(runs: Sequence[Facts], path: str) -> Colouring:
    """A colour for each of ``runs`` by setting ``path``.

    As many values as there are colours get one each. More numbers share a scale, even in the logarithm where they are wide; of more
    choices the last ones share a colour. Raises KeyError for an undeclared setting.
    """
    told = SETTINGS[path]
    values = {run.id: _rounded(run.setting(path)) for run in runs}
    there = {value for value in values.values() if value is not None}
    order = sorted(there, key=_place(list(told.choices)))
    none = (("–", _NONE),) if len(there) < len(set(values.values())) else ()
    if told.is_number and len(order) >= len(COLOURS):
        low, high = order[0], order[-1]
        log = low > 0 and high / low > 10
        found = {value: _between(value, low, high, log) for value in order}
        ends = tuple((told.show(value), found[value]) for value in (low, high))
        return Colouring(path, {run: found.get(v, _NONE) for run, v in values.items()}, ends + none, is_scale=True)
    found = {value: COLOURS[min(place, len(COLOURS) - 2)] for place, value in enumerate(order)}
    legend = tuple((told.show(value), colour) for value, colour in found.items())
    return Colouring(path, {run: found.get(value, _NONE) for run, value in values.items()}, legend + none)


def _rounded(value: object) -> object:
    """σ that was found for the same target may differ in its last digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _place(choices: list[str]):
    return lambda value: (choices.index(value), "") if value in choices else (len(choices), value)


def _between(value: float, low: float, high: float, log: bool) -> str:
    part = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    start, end = (tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for _, colour in LINE_SCALE)
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(start, end, strict=True))
