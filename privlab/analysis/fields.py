"""What a person can filter runs by, under every name that it goes by: a path, its last part, a label, a symbol."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from privlab.analysis.facts import Facts
from privlab.analysis.settings import SETTINGS, Setting
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS
from privlab.models.catalogue import MODELS
from privlab.runs.record import Status

Kind = Literal["number", "choice", "words", "set"]


@dataclass(frozen=True)
class Field:
    """One thing that is known of every run, or of some.

    Attributes:
        key: its one name in a written filter.
        kind: ``number``; ``choice``, one of ``choices``; ``words``, in which a text is looked for; ``set`` of words (tags).
        read: its value for a run: None or NaN where the run has none.
        choices: allowed values, each with its words.
        unit: ``share``, ``s`` or empty; decides which units a number may carry.
        measured: a measured number, which is equal to what it rounds to.
    """

    key: str
    kind: Kind
    read: Callable[[Facts], Any]
    choices: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    measured: bool = False


def _of_setting(path: str, told: Setting) -> Field:
    last = path.rpartition(".")[2]
    key = path if last in _TAKEN or sum(other.endswith(f".{last}") for other in SETTINGS) > 1 else last
    kind: Kind = "number" if told.is_number else "choice" if told.choices else "words"
    return Field(key, kind, lambda run: run.setting(path), tuple(told.choices.items()))


_STATES = tuple((status.value, status.value) for status in Status)
_YES_NO = (("yes", "yes"), ("no", "no"))
_OWN: tuple[tuple[Field, tuple[str, ...]], ...] = (
    (Field("name", "words", lambda run: run.name), ()),
    (Field("id", "words", lambda run: run.id), ()),
    (Field("notes", "words", lambda run: run.notes), ("note",)),
    (Field("tag", "set", lambda run: run.tags), ("tags",)),
    (Field("status", "choice", lambda run: run.status, _STATES), ("state",)),
    (Field("data", "words", lambda run: _titled(run.dataset, DATASETS)), ("dataset", "data set", "data.dataset")),
    (Field("model", "words", lambda run: _titled(run.model, MODELS)), ("model.name", "network")),
    (Field("epsilon", "number", lambda run: run.epsilon, measured=True), ("eps", "ε", "ε spent")),
    (Field("seconds", "number", lambda run: run.seconds, unit="s", measured=True), ("time", "duration")),
    (Field("step", "number", lambda run: run.step), ()),
    (Field("steps", "number", lambda run: run.steps), ("T",)),
    (Field("void", "choice", lambda run: "yes" if run.void else "no", _YES_NO), ()),
    (Field("guarantee", "choice", lambda run: "yes" if run.has_guarantee else "no", _YES_NO), ("private",)),
    (
        Field(
            "from",
            "choice",
            lambda run: run.provenance,
            (("real", "trained here"), ("imported", "imported"), ("reference", "published")),
        ),
        ("provenance",),
    ),
)
_TAKEN = {field.key for field, _ in _OWN} | {"trains"}
#: Names that people use and nobody declared.
_ALIASES = {
    "lr": "learning_rate",
    "batch": "batch_size",
    "bs": "batch_size",
    "clip": "max_grad_norm",
    "sigma": "noise_multiplier",
    "noise": "noise_multiplier",
    "opt": "optimizer",
    "acc": "test_accuracy",
    "accuracy": "test_accuracy",
    "loss": "test_loss",
    "f1": "test_f1",
    "perplexity": "test_perplexity",
    "ppl": "test_perplexity",
    "trains": "model.trains",
    "target": "target_epsilon",
}


def _titled(key: str, known: dict[str, Any]) -> str:
    return f"{key} {known[key].title}" if key in known else key


@cache
def _names() -> tuple[dict[str, tuple[Field, ...]], dict[str, tuple[Field, ...]]]:
    """Fields by exact name (symbols are told apart by case) and by name in any case. What a run has goes before settings."""
    exact: dict[str, list[Field]] = {}

    def call(name: str, field: Field) -> None:
        held = exact.setdefault(name, [])
        if name and field not in held:
            held.append(field)

    own = {}
    for field, others in _OWN:
        for name in (field.key, *others):
            call(name, field)
            own[name] = field
    by_key = {field.key: field for field, _ in _OWN}
    for key, metric in METRICS.items():
        # C and σ are settings first; where they change during a run, the point's value is asked for by “at the last point”.
        if key in ("max_grad_norm", "noise_multiplier", "batch_size"):
            continue
        unit = metric.unit if metric.unit in ("share", "s") else ""
        field = Field(key, "number", _metric_reader(key), unit=unit, measured=True)
        by_key[key] = field
        for name in (key, metric.label):
            call(name, field)
    for path, told in SETTINGS.items():
        if path in ("name", "data.dataset", "model.name"):
            continue
        field = _of_setting(path, told)
        by_key[field.key] = field
        for name in dict.fromkeys((path, path.rpartition(".")[2], told.knob.label, told.knob.symbol)):
            if name and name not in own:
                call(name, field)
    for name, key in _ALIASES.items():
        exact[name] = [by_key[key]]
    loose: dict[str, list[Field]] = {}
    for name, fields in exact.items():
        held = loose.setdefault(name.casefold(), [])
        held.extend(field for field in fields if field not in held)
    return {n: tuple(f) for n, f in exact.items()}, {n: tuple(f) for n, f in loose.items()}


def _metric_reader(key: str) -> Callable[[Facts], float]:
    return lambda run: run.metrics.get(key, math.nan)


def fields_named(name: str) -> tuple[Field, ...]:
    """Every field that goes by ``name``: its exact spelling first, then in any case; empty for none, several where unclear."""
    exact, loose = _names()
    return exact.get(name) or loose.get(name.casefold()) or ()


def similar(name: str, among: list[str] | None = None) -> list[str]:
    """At most three names near ``name``, nearest first."""
    known = list(_names()[1]) if among is None else among
    return difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.6)
