"""Which combination comes next. Everything follows from the specification and the trials in the store, so that a restart
goes on where it was: nothing of a search is kept in memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from privlab.sweeps.results import Row
from privlab.sweeps.space import Values
from privlab.sweeps.spec import SweepSpec

#: Draws that met a combination of before, until the rest is looked through.
_DRAWS = 100
#: Spaces up to this size are looked through for what was not tried yet.
_LOOKED_THROUGH = 20_000
#: Guided proposals that met a combination of before, until one is drawn at random.
_SUGGESTIONS = 5


def propose(spec: SweepSpec, rows: Sequence[Row]) -> Values | None:
    """The combination of trial ``len(rows)``; None when every combination was tried.

    Grid and random proposals depend on nothing but the specification and the number; guided ones on the results, too. No
    combination is proposed twice, except where the number of trials was drawn: those trials must not look at each other.
    """
    number = len(rows)
    if spec.method == "grid":
        return spec.space.combination(number) if number < spec.space.size else None
    if spec.trials_drawn:
        return spec.space.drawn(_shares(spec, number, 0))
    tried = {_key(row.trial.values) for row in rows}
    if len(tried) >= spec.space.size:
        return None
    if spec.method in ("tpe", "nsga2"):
        # Only who searches this way waits for Optuna to load.
        from privlab.sweeps.guided import suggest

        for attempt in range(_SUGGESTIONS):
            values = suggest(spec, rows, attempt)
            if _key(values) not in tried:
                return values
    return _untried(spec, number, tried)


def _untried(spec: SweepSpec, number: int, tried: set[Any]) -> Values | None:
    for attempt in range(_DRAWS):
        values = spec.space.drawn(_shares(spec, number, attempt))
        if _key(values) not in tried:
            return values
    if spec.space.size > _LOOKED_THROUGH:
        return None
    rest = [values for values in spec.space.combinations() if _key(values) not in tried]
    return _draw(spec, number, "rest").choice(rest) if rest else None


def _shares(spec: SweepSpec, number: int, attempt: int) -> list[float]:
    draw = _draw(spec, number, attempt)
    return [draw.random() for _ in spec.space.axes]


def _draw(spec: SweepSpec, number: int, attempt: object) -> random.Random:
    return random.Random(f"{spec.seed}:{number}:{attempt}")


def _key(values: Values) -> tuple[Any, ...]:
    return tuple(values.items())
