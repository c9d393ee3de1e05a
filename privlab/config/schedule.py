"""How a quantity changes over a training: public, fixed before the first step."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

#: Most changes of a smooth schedule: the accountant composes one loss distribution for each distinct noise.
MOST_STRETCHES = 64
#: Factors that a custom schedule may name.
LEAST_FACTOR, MOST_FACTOR = 1e-3, 1e3


@dataclass(frozen=True)
class Schedule:
    """A factor on a starting value, step by step.

    Attributes:
        kind: ``constant``; ``linear`` or ``exponential`` from 1 to ``end`` in at most 64 even stretches; ``step``: the
            same geometric way in ``stairs`` even stairs; ``custom``: as ``custom`` says.
        end: factor of the last step; not used by ``constant`` and ``custom``.
        stairs: number of stairs of ``step``, at least 2.
        custom: pairs of first step (from 1, ascending) and factor from there on.
    """

    kind: str = "constant"
    end: float = 1.0
    stairs: int = 2
    custom: tuple[tuple[int, float], ...] = ()

    @property
    def is_constant(self) -> bool:
        return self.kind == "constant"

    @property
    def is_stretched(self) -> bool:
        """Whether its values depend on how many steps are planned, so that a longer run has other values early on."""
        return self.kind in ("linear", "exponential", "step")

    def stretches(self, steps: int) -> tuple[tuple[int, float], ...]:
        """First step and factor of each stretch when ``steps`` are planned; the first begins at step 1."""
        return _stretches(self, steps)

    def at(self, step: int, steps: int) -> float:
        """The factor in force at ``step`` (from 1) of ``steps`` planned ones; the last one holds beyond the end."""
        marks = self.stretches(steps)
        return marks[bisect_right(marks, step, key=lambda mark: mark[0]) - 1][1]


CONSTANT = Schedule()


@lru_cache(maxsize=256)
def _stretches(schedule: Schedule, steps: int) -> tuple[tuple[int, float], ...]:
    if schedule.kind == "constant":
        return ((1, 1.0),)
    if schedule.kind == "custom":
        marks = schedule.custom
        return marks if marks[0][0] == 1 else ((1, 1.0), *marks)
    count = min(schedule.stairs if schedule.kind == "step" else MOST_STRETCHES, steps)
    shares = [place / max(1, count - 1) for place in range(count)]
    if schedule.kind == "linear":
        factors = [1 + (schedule.end - 1) * share for share in shares]
    else:
        factors = [schedule.end**share for share in shares]
    return tuple((1 + place * steps // count, factor) for place, factor in enumerate(factors))


def parse_custom(text: str) -> tuple[tuple[int, float], ...]:
    """Read ``1:1, 500:0.8``: from which step on which factor holds.

    Raises:
        ValueError: names the part that is not understood or out of bounds.
    """
    marks: list[tuple[int, float]] = []
    for part in text.split(","):
        first, colon, factor = (piece.strip() for piece in part.partition(":"))
        try:
            step, value = int(first), float(factor)
        except ValueError:
            step, value, colon = 0, 0.0, ""
        if not colon:
            raise ValueError(f"“{part.strip()}” is not of the form step:factor, as in 1:1, 500:0.8.")
        if step < 1 or (marks and step <= marks[-1][0]):
            raise ValueError(f"step {step} must be at least 1 and larger than the one before.")
        if not LEAST_FACTOR <= value <= MOST_FACTOR:
            raise ValueError(f"factor {value:g} must lie between {LEAST_FACTOR:g} and {MOST_FACTOR:g}.")
        marks.append((step, value))
    return tuple(marks)
