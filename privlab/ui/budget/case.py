"""One case of the Budget page: five numbers given, the sixth reckoned, and what can be wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from privlab.privacy import LEAST_NOISE, MOST_EPSILON, MOST_NOISE, OutOfReach, steps_for
from privlab.privacy.accounting import LEAST_DELTA, epsilon_of
from privlab.privacy.calculator import MOST_EPOCHS, MOST_RECORDS, solve
from privlab.privacy.pair import MOST_GROUP
from privlab.privacy.phases import Phase, Phases
from privlab.privacy.quick import quick_solve

#: The six numbers, any of which follows from the other five.
UNKNOWNS = ("epsilon", "noise_multiplier", "batch_size", "epochs", "records", "delta")
#: Beyond this many steps no training ends.
MOST_STEPS = 10**9


@dataclass(frozen=True)
class Case:
    """A training as far as its guarantee depends on it, with the ε that it spends.

    Attributes:
        unknown: which of :data:`UNKNOWNS` was reckoned from the others.
        epsilon: ε at ``delta`` that these settings spend; at most the one asked for.
        asked: ε that was asked for; equal to ``epsilon`` where that is the unknown.
        noise_multiplier: σ.
        batch_size: B, expected records in a batch.
        epochs: E, expected passes over the data.
        records: N.
        delta: δ.
        adjacency, accountant: as in :class:`privlab.privacy.PrivacyPlan`.
    """

    unknown: str
    epsilon: float
    asked: float
    noise_multiplier: float
    batch_size: int
    epochs: int
    records: int
    delta: float
    adjacency: str
    accountant: str

    @property
    def sample_rate(self) -> float:
        """q = B / N."""
        return self.batch_size / self.records

    @property
    def steps(self) -> int:
        """T, logical batches."""
        return steps_for(self.epochs, self.records, self.batch_size)

    @property
    def phases(self) -> Phases:
        """What the accountants count."""
        return (Phase(self.sample_rate, self.noise_multiplier, self.steps),)

    @property
    def answer(self) -> float:
        """The number that was reckoned."""
        return getattr(self, self.unknown)


class Refused(ValueError):
    """Values from which nothing follows; ``problems`` has a sentence by the name of each field that is to blame."""

    def __init__(self, problems: Mapping[str, str]):
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


def reckon(unknown: str, values: Mapping[str, float | None], *, adjacency: str, accountant: str) -> Case:
    """The case that ``values`` (by the names of :data:`UNKNOWNS`; None is empty) make.

    Raises:
        Refused: what is wrong, field by field, with value and bound.
    """
    given = {name: values[name] for name in UNKNOWNS if name != unknown}
    if problems := problems_of(given):
        raise Refused(problems)
    return _reckon(unknown, tuple(given.items()), adjacency, accountant)


def at_first(unknown: str, values: Mapping[str, float | None], *, adjacency: str, accountant: str) -> float | None:
    """A bound on the answer within milliseconds: the exact one is not above it, or for B and E not below.

    None where there is none as quick, or where the values are refused.
    """
    given = {name: values[name] for name in UNKNOWNS if name != unknown}
    if accountant != "pld" or problems_of(given):
        return None
    found = _at_first(unknown, tuple(given.items()), adjacency)
    return found if math.isfinite(found) else None


def _once(work: Callable[..., Any]) -> Callable[..., Any]:
    """``work``, cached; who asks what is just being worked on waits for that. The page and its answer ask the same at once."""
    cached, guard = lru_cache(maxsize=512)(work), Lock()
    busy: WeakValueDictionary[object, Lock] = WeakValueDictionary()

    @wraps(work)
    def ask(*asked):
        with guard:
            mine = busy.get(asked) or busy.setdefault(asked, Lock())
        with mine:
            return cached(*asked)

    return ask


@_once
def _at_first(unknown: str, given: tuple[tuple[str, float], ...], adjacency: str) -> float:
    return quick_solve(unknown, adjacency=adjacency, **dict(given))


@_once
def _reckon(unknown: str, given: tuple[tuple[str, float], ...], adjacency: str, accountant: str) -> Case:
    known = dict(given)
    try:
        found = solve(unknown, **known, adjacency=adjacency, accountant=accountant)
    except OutOfReach as error:
        # What cannot be met is the ε asked for.
        raise Refused({"epsilon": str(error)}) from None
    except ValueError as error:
        raise Refused({unknown: str(error)}) from None
    values = {**known, unknown: found}
    late = problems_of({name: value for name, value in values.items() if name != "epsilon"})
    if late:
        raise Refused({unknown: " ".join(late.values())})
    asked = values.pop("epsilon")
    case = Case(unknown, asked, asked, **values, adjacency=adjacency, accountant=accountant)
    if unknown == "epsilon":
        return case
    spent = epsilon_of(case.phases, case.delta, accountant=accountant, adjacency=adjacency)
    return Case(unknown, spent, asked, **values, adjacency=adjacency, accountant=accountant)


def problems_of(values: Mapping[str, float | None]) -> dict[str, str]:
    """What is wrong with ``values``, a sentence for each field to blame that names value and bound."""
    found: dict[str, str] = {}
    for name, value in values.items():
        least, most, word = _BOUNDS[name]
        if value is None:
            found[name] = f"{word} is empty; give a number from {_short(least)} to {_short(most)}."
        elif not least <= value <= most:
            found[name] = f"{word} = {_short(value)} is outside {_short(least)} … {_short(most)}."
        elif name in _WHOLE and value != int(value):
            found[name] = f"{word} = {value:g} must be a whole number."
    if values.get("noise_multiplier") == 0:
        found["noise_multiplier"] = (
            f"σ = 0 adds no noise, so nothing is guaranteed (ε = ∞); give at least {LEAST_NOISE:g}."
        )
    records, batch, delta, epochs = (values.get(name) for name in ("records", "batch_size", "delta", "epochs"))
    if not found.keys() & {"records", "batch_size"} and records and batch and batch > records:
        found["batch_size"] = f"B = {batch:,.0f} is more than all N = {records:,.0f} records."
    if not found.keys() & {"records", "delta"} and records and delta and delta >= 1 / records:
        found["delta"] = (
            f"δ = {delta:g} must be below 1/N = {_down(1 / records)}: otherwise publishing a whole record passes."
        )
    if not found and records and batch and epochs and steps_for(int(epochs), int(records), int(batch)) > MOST_STEPS:
        found["epochs"] = (
            f"E = {epochs:,.0f} makes {steps_for(int(epochs), int(records), int(batch)):,} steps; at most {MOST_STEPS:,}."
        )
    return found


_BOUNDS = {
    "epsilon": (0.001, MOST_EPSILON, "ε"),
    "noise_multiplier": (LEAST_NOISE, MOST_NOISE, "σ"),
    "batch_size": (1, MOST_RECORDS, "B"),
    "epochs": (1, MOST_EPOCHS, "E"),
    "records": (2, MOST_RECORDS, "N"),
    "delta": (LEAST_DELTA, 0.5, "δ"),
    "group_size": (1, MOST_GROUP, "k"),
}
_WHOLE = {"batch_size", "epochs", "records", "group_size"}


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1 <= abs(value) < 1e15 and value == int(value) else f"{value:.6g}"


def up(value: float, digits: int) -> float:
    """``value`` to so many significant digits, rounded up, so that a shown ε or δ never understates."""
    if not (math.isfinite(value) and value > 0):
        return value
    exponent = math.floor(math.log10(value)) - digits + 1
    # What is already that short stays as it is, in spite of binary rounding.
    return float(f"{math.ceil(value / 10.0**exponent - 1e-7):d}e{exponent}")


def _down(value: float) -> str:
    """Three significant digits, rounded down, so that what is shown as a bound is one."""
    exponent = math.floor(math.log10(value)) - 2
    return f"{math.floor(value / 10**exponent + 1e-9) * 10.0**exponent:.3g}"
