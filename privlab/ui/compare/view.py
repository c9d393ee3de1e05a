"""What the Compare page looks at, whole in its address: a link shows the same to whoever opens it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from privlab.analysis.settings import SETTINGS
from privlab.metrics import METRICS
from privlab.ui.urls import MOST_RUNS

#: The views of the page, in order, with their words.
TABS = {
    "curves": "Curves",
    "pareto": "Pareto front",
    "settings": "Settings",
    "differences": "Differences",
    "verdict": "Verdict",
    "planner": "Planner",
}
#: Longest filter that an address keeps, characters.
MOST_FILTER = 500


@dataclass(frozen=True)
class View:
    """What is looked at. Each field has one address parameter, which is left out where it says nothing.

    Attributes:
        q: the filter as it was typed, understood or not.
        grouped: runs that differ by chance alone are one row (``group=seed``).
        archived: archived runs are listed too.
        only: no run but the chosen ones is listed, and judged by the views.
        tab: a key of :data:`TABS`.
        metric: key of a metric; empty takes the one that most of the shown runs are judged by.
        columns: keys of the table's columns; empty takes the usual ones.
        colour: path of the setting that gives lines their colour; empty: each run its own.
        runs: ids of the chosen runs, in the order of their choice.
        point: a run whose card is open beside the front.
        eps, level: where the two reading lines stand; NaN: in the middle of what is drawn.
        front: which data set and promise the front is of; empty: the one with most results.
        x, y: paths of the heat map's settings; empty: the two that decided most.
        cell: key of the map's cell whose runs are listed.
        a, b: first runs of the two sides of a verdict; empty: the first two that are chosen.
        at: ε at which the sides are compared; NaN: the largest that both reach.
        goal: what the planner is asked for, in the metric's unit; NaN: nothing yet.
    """

    q: str = ""
    grouped: bool = False
    archived: bool = False
    only: bool = False
    tab: str = "curves"
    metric: str = ""
    columns: tuple[str, ...] = ()
    colour: str = ""
    runs: tuple[str, ...] = ()
    point: str = ""
    eps: float = math.nan
    level: float = math.nan
    front: str = ""
    x: str = ""
    y: str = ""
    cell: str = ""
    a: str = ""
    b: str = ""
    at: float = math.nan
    goal: float = math.nan

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> tuple[View, tuple[str, ...]]:
        """The view that an address asks for, and a sentence for each parameter that says nothing; those keep their default."""
        found: dict[str, Any] = {}
        problems = []
        for field in fields(cls):
            name = _NAMES.get(field.name, field.name)
            text = parameters.get(name, "").strip()
            if not text:
                continue
            try:
                found[field.name] = _READERS.get(field.name, str)(text)
            except ValueError as error:
                problems.append(f"{name}={text[:60]} in the address is left out: {error}.")
        return cls(**found), tuple(problems)

    def parameters(self) -> dict[str, str]:
        """The address parameters that say this view; :meth:`read` gives it back."""
        usual = View()
        return {
            _NAMES.get(field.name, field.name): _written(field.name, getattr(self, field.name))
            for field in fields(self)
            if repr(getattr(self, field.name)) != repr(getattr(usual, field.name))
        }


#: Address parameters that have another name than their field. ``runs`` is what other pages link with.
_NAMES = {"grouped": "group", "tab": "view", "columns": "cols"}
#: Every address parameter of the page.
PARAMETERS = tuple(_NAMES.get(field.name, field.name) for field in fields(View))


def _written(name: str, value: Any) -> str:
    if name == "grouped":
        return "seed"
    if isinstance(value, bool):
        return "yes"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _runs(text: str) -> tuple[str, ...]:
    return _several(text)[:MOST_RUNS]


def _one_of(allowed: Mapping[str, Any] | tuple[str, ...], what: str):
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"there is no such {what}")
        return text

    return read


def _switch(word: str):
    def read(text: str) -> bool:
        if text != word:
            raise ValueError(f"it may only be “{word}”")
        return True

    return read


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("it is no number") from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError("it must be a finite number above 0")
    return value


def _filter(text: str) -> str:
    if len(text) > MOST_FILTER:
        raise ValueError(f"a filter has at most {MOST_FILTER} characters")
    return text


_SETTING = _one_of(SETTINGS, "setting")
_READERS = {
    "q": _filter,
    "grouped": _switch("seed"),
    "archived": _switch("yes"),
    "only": _switch("yes"),
    "tab": _one_of(TABS, "view"),
    "metric": _one_of(METRICS, "metric"),
    "columns": _several,
    "colour": _SETTING,
    "runs": _runs,
    "eps": _number,
    "level": _number,
    "x": _SETTING,
    "y": _SETTING,
    "at": _number,
    "goal": _number,
}
