"""Runs in plain terms: ``digits eps<=3 lr>=0.1 status:finished tag:paper -name:test seed:0..4``.

Terms are joined by *and*. A free word must stand in the name, id, data set, model, tags or notes. ``field:value`` asks for
equality, ``field<value`` and so on compare; ``:a,b`` is one of several, ``:0..4`` a range with both ends, a leading minus is
*not*. Quotes keep a phrase together. Fields go by the standard term, the last part of their path, their label or symbol
(:mod:`privlab.analysis.fields`). A run without the value asked for passes no comparison, and passes its negation.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from privlab.analysis.facts import Facts
from privlab.analysis.fields import Field, fields_named, similar
from privlab.data.catalogue import DATASETS
from privlab.models.catalogue import MODELS

_OPERATORS = {"≤": "<=", "≥": ">=", "≠": "!=", "=": ":", "==": ":"}
_TERM = re.compile(
    r"""(?P<minus>-(?=\S))?
    (?:
        (?P<name>[^\W\d][\w./]*|"[^"]*"|“[^”]*”)
        (?: (?P<op>:|==?) | \s*(?P<sign><=|>=|!=|≤|≥|≠|<|>)\s* )
        (?P<value>"[^"]*"|“[^”]*”|[^\s"“]*(?:"[^"]*")?)
      | (?P<word>"[^"]*"|“[^”]*”|\S+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-zµ%]*)", re.IGNORECASE)
_FACTORS = {
    "s": {"": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "ms": 1e-3},
    "share": {"": 1.0, "%": 0.01},
    "": {"": 1.0, "k": 1e3, "m": 1e6},
}
_ENDLESS = {"∞", "inf", "infinity"}


class FilterError(ValueError):
    """A filter that is not understood.

    Attributes:
        text: the whole filter.
        start, end: where in it the trouble is, as for slices.
    """

    def __init__(self, message: str, text: str, start: int, end: int):
        super().__init__(f"{message} (at “{text[start:end]}”, character {start + 1})")
        self.text, self.start, self.end = text, start, end


@dataclass(frozen=True)
class Range:
    """Both ends belong to it; −inf and inf leave a side open."""

    low: float
    high: float
    written: str


@dataclass(frozen=True)
class Term:
    """One condition. ``field`` is None for a free word; ``operator`` one of ``:``, ``!=``, ``<``, ``<=``, ``>``, ``>=``."""

    field: Field | None
    operator: str
    values: tuple[str | Range, ...]
    negated: bool = False

    def __call__(self, run: Facts) -> bool:
        return self._holds(run) != self.negated

    def _holds(self, run: Facts) -> bool:
        if self.field is None:
            return str(self.values[0]) in _everything(run)
        value = self.field.read(run)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return False
        found = any(_meets(self.field, self.operator, value, wanted) for wanted in self.values)
        return not found if self.operator == "!=" else found

    def __str__(self) -> str:
        values = ",".join(v.written if isinstance(v, Range) else _quoted(v, in_list=True) for v in self.values)
        minus = "-" if self.negated else ""
        if self.field is None:
            return minus + _quoted(str(self.values[0]), in_list=False)
        return f"{minus}{self.field.key}{self.operator}{values}"


@dataclass(frozen=True)
class Query:
    """A filter: call it with a run. ``str`` writes it so that :func:`parse` reads the same."""

    terms: tuple[Term, ...] = ()

    def __call__(self, run: Facts) -> bool:
        return all(term(run) for term in self.terms)

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def chosen(self, runs: Iterable[Facts]) -> list[Facts]:
        """Those of ``runs`` that pass, in their order."""
        return [run for run in runs if self(run)]


def parse(text: str) -> Query:
    """Read a filter; an empty one passes every run.

    Raises:
        FilterError: says where, and what is allowed there.
    """
    return Query(tuple(_term(found, text) for found in _TERM.finditer(text)))


def _term(found: re.Match[str], text: str) -> Term:
    negated = bool(found["minus"])
    if found["name"] is None:
        word = found["word"]
        if (word[0] in '"“' and word[-1] not in '"”') or word in ('"', "“"):
            raise FilterError(
                "This quotation mark is never closed; add one at the end of the phrase.", text, *found.span()
            )
        if re.match(r"[<>≤≥≠=:]", word):
            raise FilterError("Before this must stand what is compared, as in eps<=3.", text, *found.span("word"))
        return Term(None, ":", (_bare(word).casefold(),), negated)
    field = _field(_bare(found["name"]), text, *found.span("name"))
    operator = found["op"] or found["sign"]
    operator = _OPERATORS.get(operator, operator)
    if operator not in (":", "!=") and field.kind != "number":
        allowed = "a number" if not field.choices else " or ".join(key for key, _ in field.choices[:8])
        raise FilterError(
            f"{field.key} is no number, so “{operator}” cannot compare it; write {field.key}:value"
            + (f" with {allowed}." if field.choices else "."),
            text,
            *found.span(),
        )
    start, end = found.span("value")
    if not found["value"]:
        raise FilterError(f"After “{found['name']}{operator}” a value is missing.", text, found.start(), end)
    raw = found["value"]
    parts = [raw] if raw[0] in '"“' else raw.split(",")
    values, place = [], start
    for part in parts:
        values.append(_value(field, operator, part, text, place))
        place += len(part) + 1
    return Term(field, operator, tuple(values), negated)


def _field(name: str, text: str, start: int, end: int) -> Field:
    fields = fields_named(name)
    if len(fields) == 1:
        return fields[0]
    if fields:
        raise FilterError(
            f"“{name}” has several meanings: write {' or '.join(field.key for field in fields)}.", text, start, end
        )
    near = similar(name)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else "use a setting or metric, for example eps, lr, seed, status, tag."
    )
    raise FilterError(f"“{name}” is nothing that runs can be filtered by; {hint}", text, start, end)


def _value(field: Field, operator: str, part: str, text: str, start: int) -> str | Range:
    end = start + len(part)
    bare = _bare(part).strip()
    if not bare:
        raise FilterError("A value is missing.", text, max(0, start - 1), max(end, start))
    if field.kind == "number":
        return _number(field, operator, bare, text, start, end)
    if field.kind == "choice":
        return _choice(field, bare, text, start, end)
    return bare.casefold()


def _choice(field: Field, bare: str, text: str, start: int, end: int) -> str:
    wanted = bare.casefold()
    for key, words in field.choices:
        if wanted in (key.casefold(), words.casefold()):
            return key
    known = [key for key, _ in field.choices]
    near = similar(bare, known)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise FilterError(f"{field.key} is one of {', '.join(known)}; “{bare}” is not.{hint}", text, start, end)


def _number(field: Field, operator: str, bare: str, text: str, start: int, end: int) -> Range:
    low, dots, high = bare.partition("..")
    if dots:
        if operator not in (":", "!="):
            raise FilterError(
                f"A range goes with “:” only: write {field.key}:{bare} or two comparisons.", text, start, end
            )
        ends = [
            _read(field, side, text, start, end)[0] if side else where
            for side, where in ((low, -math.inf), (high, math.inf))
        ]
        if ends[0] > ends[1]:
            raise FilterError(f"The range begins above its end; write {high}..{low}.", text, start, end)
        return Range(ends[0], ends[1], bare)
    value, half = _read(field, bare, text, start, end)
    if operator in (":", "!="):
        # ε = 2.9998 is what people call 3, and a learning rate of 0.30000000000000004 is 0.3.
        slack = half if field.measured else 1e-9 * abs(value)
        return Range(value, value, bare) if math.isinf(value) else Range(value - slack, value + slack, bare)
    return Range(value, value, bare)


def _read(field: Field, written: str, text: str, start: int, end: int) -> tuple[float, float]:
    """The number, and half a unit of its last digit."""
    if written.casefold() in _ENDLESS:
        return math.inf, 0.0
    found = _NUMBER.fullmatch(written.strip())
    factors = _FACTORS[field.unit]
    if not found or found[2].casefold() not in factors:
        units = ", ".join(unit for unit in factors if unit)
        raise FilterError(
            f"{field.key} is a number (units: {units}; ranges as 1..5); “{written}” is not.", text, start, end
        )
    value = float(found[1]) * factors[found[2].casefold()]
    if field.unit == "share" and abs(value) > 1:
        raise FilterError(
            f"{field.key} is a share of at most 1; write {written}% or {value / 100:g}.", text, start, end
        )
    mantissa, _, power = found[1].casefold().partition("e")
    digits = len(mantissa.partition(".")[2])
    return value, 0.5 * 10.0 ** (int(power or 0) - digits) * factors[found[2].casefold()]


def _meets(field: Field, operator: str, value: Any, wanted: str | Range) -> bool:
    if isinstance(wanted, Range):
        number = float(value)
        if operator in (":", "!="):
            return wanted.low <= number <= wanted.high
        return {
            "<": number < wanted.low,
            "<=": number <= wanted.high,
            ">": number > wanted.high,
            ">=": number >= wanted.low,
        }[operator]
    if field.kind == "set":
        return any(fnmatch.fnmatchcase(word.casefold(), wanted) for word in value)
    if field.kind == "choice":
        return str(value) == wanted
    return wanted in str(value).casefold() if "*" not in wanted else fnmatch.fnmatchcase(str(value).casefold(), wanted)


def _everything(run: Facts) -> str:
    data, model = DATASETS.get(run.dataset), MODELS.get(run.model)
    titles = [facts.title for facts in (data, model) if facts]
    return "\n".join((run.name, run.id, run.dataset, run.model, *titles, *sorted(run.tags), run.notes)).casefold()


def _bare(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in '"“' and text[-1] in '"”' else text


def _quoted(text: str, *, in_list: bool) -> str:
    plain = re.fullmatch(r"[^\s\"“,]+" if in_list else r"[^\s\"“:=<>≤≥≠-][^\s\"“:=<>≤≥≠]*", text)
    return text if plain else f'"{text}"'
