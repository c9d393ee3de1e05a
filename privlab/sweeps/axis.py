"""One setting that a sweep varies: a list of values, or a range; bounds and kinds come from its declaration."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from privlab.analysis.settings import SETTINGS, Setting
from privlab.config import ConfigError
from privlab.config.knobs import bounds_of

#: Every setting that can be varied. The seed has an entry of its own in a sweep.
VARIED: dict[str, Setting] = {
    path: setting for path, setting in SETTINGS.items() if path not in ("name", "training.seed")
}
#: More values than this on one axis are a mistake.
MOST_VALUES = 1000
_RANGE = {"low", "high", "log", "step", "count"}
#: Rounding that ranges of floats may end by, in steps.
_SLACK = 1e-9


def refusal(setting: Setting, value: Any) -> str | None:
    """Why ``value`` is none of the setting's, with the bound; None for a good one."""
    name = setting.path.rsplit(".", 1)[-1]
    if setting.choices:
        return None if value in setting.choices else f"{name}={value!r} is none of {', '.join(setting.choices)}."
    if not setting.is_number:
        return None if isinstance(value, str) else f"{name}={value!r} is refused: it is a text."
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{name}={value!r} is refused: it is a number."
    if setting.is_integer and value != int(value):
        return f"{name}={value!r} is refused: it is a whole number."
    holds = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
    if all(holds[side](value, bound) for side, bound in bounds_of(setting.info).items()):
        return None
    return f"{name}={value!r} is refused: it must be {setting.bounds}."


def exact(setting: Setting, value: Any) -> Any:
    """``value`` in the type of the setting."""
    return (int(value) if setting.is_integer else float(value)) if setting.is_number else value


@dataclass(frozen=True)
class Axis:
    """What one setting takes: ``values``, or everything from ``low`` to ``high``.

    Attributes:
        path: dotted path of the setting.
        values: the values of a list, in its order; empty for a range.
        low, high: ends of a range, both in it.
        log: the range is even in the logarithm.
        step: distance of a linear range's values; None for any value between.
        count: number of evenly spread values; None for any value between.
    """

    path: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    count: int | None = None

    @property
    def points(self) -> tuple[Any, ...] | None:
        """All values, or None for a range of which any value may be taken."""
        if self.values:
            return self.values
        if self.count is not None:
            return tuple(dict.fromkeys(self._exact(self._rounded(self._between(i))) for i in range(self.count)))
        if self.step is not None:
            number = math.floor((self.high - self.low) / self.step + _SLACK) + 1
            return tuple(self._exact(self._rounded(self.low + i * self.step)) for i in range(number))
        return None

    @property
    def ends(self) -> tuple[Any, ...]:
        """Least and greatest value of numbers; every value of a list of words."""
        if self.points is None:
            return (self.low, self.high)
        numbers = VARIED[self.path].is_number
        return tuple(dict.fromkeys((min(self.points), max(self.points)))) if numbers else self.points

    def at(self, share: float) -> Any:
        """The value at ``share`` (0 … 1) of the way: how a random search draws it from a uniform number."""
        points = self.points
        if points is not None:
            return points[min(int(share * len(points)), len(points) - 1)]
        if VARIED[self.path].is_integer and not self.log:
            return int(self.low) + min(int(share * (self.high - self.low + 1)), int(self.high - self.low))
        value = self._rounded(
            math.exp(self._mix(math.log(self.low), math.log(self.high), share))
            if self.log
            else self._mix(self.low, self.high, share)
        )
        return self._exact(min(max(value, self.low), self.high))

    def _between(self, place: int) -> float:
        if self.count == 1:
            return self.low
        share = place / (self.count - 1)
        if self.log:
            return math.exp(self._mix(math.log(self.low), math.log(self.high), share))
        return self._mix(self.low, self.high, share)

    @staticmethod
    def _mix(low: float, high: float, share: float) -> float:
        return low + (high - low) * share

    def _exact(self, value: float) -> Any:
        return exact(VARIED[self.path], value)

    def _rounded(self, value: float) -> float:
        """Whole for a whole number's setting, else six digits: 0.30000000000000004 is nobody's choice."""
        return round(value) if VARIED[self.path].is_integer else float(f"{value:.6g}")

    def to_raw(self) -> Any:
        """As it stands in a file: a list, or a table with the ends."""
        if self.values:
            return list(self.values)
        raw: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            raw["log"] = True
        return raw | {name: value for name in ("step", "count") if (value := getattr(self, name)) is not None}


def read_axis(path: str, raw: Any) -> Axis:
    """The axis that ``raw`` (a list, or a table with ``low`` and ``high``) says.

    Raises:
        ConfigError: at ``space.<path>``, with the value and the bound.
    """
    at = f"space.{path}"
    told = VARIED.get(path)
    if path == "training.seed":
        raise ConfigError.at(at, "seeds are not varied here: seeds = 3 trains every combination with three of them.")
    if told is None:
        raise ConfigError.at(at, f"{path} is no setting; known ones are for example {', '.join(_near(path))}.")
    if isinstance(raw, list | tuple):
        return _list(at, told, raw)
    if isinstance(raw, Mapping):
        return _range(at, told, raw)
    raise ConfigError.at(at, f"{raw!r} is neither a list of values nor a range such as {{low = 0.1, high = 1}}.")


def _near(path: str) -> list[str]:
    leaves = {each.rsplit(".", 1)[-1]: each for each in VARIED}
    near = get_close_matches(path.rsplit(".", 1)[-1], leaves, 3, 0.5)
    return [leaves[leaf] for leaf in near] or list(VARIED)[:3]


def _list(at: str, told: Setting, raw: Any) -> Axis:
    if not raw:
        raise ConfigError.at(at, "the list of values is empty: no run at all.")
    if len(raw) > MOST_VALUES:
        raise ConfigError.at(at, f"{len(raw):,} values are too many: at most {MOST_VALUES:,} on one setting.")
    for value in raw:
        if message := refusal(told, value):
            raise ConfigError.at(at, message)
    values = tuple(exact(told, value) for value in raw)
    for value in values:
        if values.count(value) > 1:
            raise ConfigError.at(at, f"{value!r} stands there twice.")
    return Axis(told.path, values)


def _range(at: str, told: Setting, raw: Mapping[str, Any]) -> Axis:
    if unknown := sorted(set(raw) - _RANGE):
        raise ConfigError.at(at, f"{unknown[0]} is no part of a range; a range has low, high, log, step and count.")
    if not told.is_number:
        raise ConfigError.at(at, f"{told.knob.label} is no number and has no range; give a list of values.")
    if missing := [name for name in ("low", "high") if raw.get(name) is None]:
        raise ConfigError.at(at, f"{missing[0]} is missing; a range has low and high.")
    low, high, step, count = (raw.get(name) for name in ("low", "high", "step", "count"))
    for value in (low, high):
        if message := refusal(told, value):
            raise ConfigError.at(at, message)
    if not low < high:
        raise ConfigError.at(at, f"low={low:g} must be below high={high:g}: the range is empty.")
    if not isinstance(raw.get("log", False), bool):
        raise ConfigError.at(at, f"log={raw['log']!r} is refused: it is true or false.")
    log = bool(raw.get("log", False))
    if log and low <= 0:
        raise ConfigError.at(at, f"low={low:g} must be above 0 on a logarithmic range.")
    if step is not None and count is not None:
        raise ConfigError.at(at, f"step={step} and count={count} are both given; give one of them.")
    if step is not None:
        if log:
            raise ConfigError.at(at, f"step={step} has no meaning on a logarithmic range; give count.")
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step <= high - low:
            raise ConfigError.at(at, f"step={step} must be above 0 and at most {high - low:g}.")
        if (high - low) / step > MOST_VALUES:
            raise ConfigError.at(at, f"step={step} makes more than {MOST_VALUES:,} values; a larger step makes fewer.")
        if told.is_integer and step != int(step):
            raise ConfigError.at(at, f"step={step} must be a whole number, as the setting is.")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MOST_VALUES):
        raise ConfigError.at(at, f"count={count} must be a whole number from 2 to {MOST_VALUES:,}.")
    return Axis(told.path, (), exact(told, low), exact(told, high), log, step, count)
