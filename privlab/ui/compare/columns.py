"""The columns that the table of runs can show, and the table itself as a frame."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from privlab.analysis.seeds import Group
from privlab.analysis.settings import SETTINGS
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS
from privlab.models.catalogue import MODELS
from privlab.ui import labels
from privlab.ui.compare.library import Entry

#: What says how useful a model is.
RESULTS = ("test_accuracy", "test_f1", "test_perplexity", "exposure_mean", "recited")
_NAMED = {"privacy.noise_multiplier": "sigma", "privacy.max_grad_norm": "C", "training.seed": "seed"}
_ELSEWHERE = {"name", "data.dataset", "model.name"}


@dataclass(frozen=True)
class Column:
    """One column: its name for people, how it is read from a run, and how it is shown."""

    label: str
    read: Callable[[Entry], Any]
    config: Any = None


def _title(key: str) -> str:
    facts = DATASETS.get(key) or MODELS.get(key)
    return facts.title if facts else key


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(format: str, help: str | None = None) -> Any:
    return st.column_config.NumberColumn(format=format, help=help)


def _of_metric(key: str) -> Column:
    told = METRICS[key]
    format = {"share": "percent", "s": "%.3g s"}.get(told.unit, "%.4g")
    return Column(told.label, lambda entry: _finite(entry.facts.metric(key)), _number(format, told.help))


def _of_setting(path: str) -> Column:
    told = SETTINGS[path]
    if told.is_number:
        return Column(told.label, lambda entry: entry.facts.setting(path), _number("%.5g", told.knob.help))
    return Column(told.label, lambda entry: told.show(entry.facts.setting(path)))


def _state(entry: Entry) -> str:
    return labels.state(entry.run) + (" · archived" if entry.said.archived else "")


def _declared() -> dict[str, Column]:
    found = {
        "name": Column("Name", lambda entry: ("📌 " if entry.said.pinned else "") + (entry.run.name or entry.id)),
        "status": Column("Status", _state),
        **{key: _of_metric(key) for key in RESULTS},
        "epsilon": Column(
            "ε",
            lambda entry: _finite(entry.facts.epsilon),
            _number("%.3f", "Spent so far; – means ∞ or nothing yet. Void runs claim none."),
        ),
        "delta": Column("δ", lambda entry: f"{entry.run.plan.delta:g}"),
        "sigma": Column("σ", lambda entry: entry.facts.noise_multiplier, _number("%.4g")),
        "C": Column("C", lambda entry: entry.facts.setting("privacy.max_grad_norm"), _number("%.4g")),
        "data": Column("Data set", lambda entry: _title(entry.facts.dataset)),
        "model": Column("Model", lambda entry: _title(entry.facts.model)),
        "seed": Column("Seed", lambda entry: entry.facts.seed, _number("%d")),
        "tags": Column("Tags", lambda entry: sorted(entry.said.tags), st.column_config.ListColumn()),
        "note": Column("Note", lambda entry: entry.said.note or None),
        "step": Column("Step", lambda entry: f"{entry.run.step:,} of {entry.run.steps:,}"),
        "time": Column("Time", lambda entry: entry.run.seconds, _number("%.3g s", "Training and evaluation, without pauses.")),
        "launched": Column(
            "Launched", lambda entry: entry.run.created, st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")
        ),
        "id": Column("Id", lambda entry: entry.id),
    }  # fmt: skip
    found |= {key: _of_metric(key) for key in METRICS if key not in found}
    found |= {path: _of_setting(path) for path in SETTINGS if path not in _NAMED and path not in _ELSEWHERE}
    return found


#: Every column by its key, which addresses keep.
COLUMNS: dict[str, Column] = _declared()
_USUAL = ("name", "status", *RESULTS, "epsilon", "delta", "sigma", "C", "data", "model", "seed", "tags", "step", "time", "launched", "id")  # fmt: skip


def usual(entries: Sequence[Entry]) -> list[str]:
    """The columns that are shown unless a person chooses: results that some run has been measured by; accuracy always."""
    measured = Counter(key for entry in entries for key in RESULTS if key in entry.run.metrics)
    left_out = {key for key in RESULTS if key != "test_accuracy" and not measured[key]}
    if not any(entry.said.tags for entry in entries):
        left_out.add("tags")
    return [key for key in _USUAL if key not in left_out]


def frame(entries: Sequence[Entry], keys: Sequence[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of ``entries``, one row each, with its columns' configuration."""
    data = _frame(tuple(entries), tuple(keys), st.context.timezone or "UTC")
    return data, {COLUMNS[key].label: COLUMNS[key].config for key in keys if COLUMNS[key].config}


@lru_cache(maxsize=8)
def _frame(entries: tuple[Entry, ...], keys: tuple[str, ...], zone: str) -> pd.DataFrame:
    """Entries of unchanged runs are the same objects, so that a click on a row builds nothing anew. Nobody changes the frame."""
    data: dict[str, Any] = {}
    for key in keys:
        values: Any = [COLUMNS[key].read(entry) for entry in entries]
        if key == "launched":
            values = pd.to_datetime(values, unit="s", utc=True).tz_convert(zone)
        data[COLUMNS[key].label] = values
    return pd.DataFrame(data)


def grouped_frame(
    groups: Sequence[Group], entries: dict[str, Entry], keys: Sequence[str], metric: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each group of repeats: how many, mean and 95 % interval of ``metric``, and what its first run says."""
    told = METRICS[metric]
    summaries = [group.farthest.summary(metric) for group in groups]
    firsts = [entries[group.first.id] for group in groups]
    half = [(each.high - each.low) / 2 if each.n > 1 else None for each in summaries]
    shown = "percent" if told.unit == "share" else "%.4g"
    data = {
        "Name": [group.name for group in groups],
        "Runs": [group.n for group in groups],
        f"{told.label}, mean": [_finite(each.mean) for each in summaries],
        "± 95 %": half,
        "ε": [_finite(group.epsilon) for group in groups],
    }
    left_out = {"name", "status", "seed", "step", "time", "launched", "id", "epsilon", "note", metric, *METRICS}
    rest = [key for key in keys if key not in left_out]
    more, config = frame(firsts, rest)
    config |= {
        f"{told.label}, mean": _number(shown, told.help),
        "± 95 %": _number(shown, "Half of the mean's 95 % interval (Student's t) over its runs; – for a single run, which says nothing of its spread."),
        "Runs": _number("%d", "Runs that differ in seed, name and computing only. Void runs are left out."),
        "ε": _number("%.3f", "The largest that one of them spent; – means ∞ or nothing yet."),
    }  # fmt: skip
    return pd.concat([pd.DataFrame(data), more], axis=1), config
