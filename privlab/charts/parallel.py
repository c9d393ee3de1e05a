"""Runs as lines across their settings and results: drag along an axis to keep the lines that pass there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from privlab.analysis.facts import Facts
from privlab.analysis.importance import varying
from privlab.analysis.settings import SETTINGS
from privlab.charts.figure import base_layout, below, heading, origins, plain
from privlab.charts.style import COLOURS, LINE_SCALE
from privlab.metrics import METRICS

#: More axes than these cannot be read.
MOST_AXES = 10


def parallel_figure(
    runs: Sequence[Facts], metric: str = "test_accuracy", paths: Sequence[str] | None = None
) -> go.Figure:
    """One line a run through the settings that vary, ε and the metric, which also colours it: from blue to orange, which is
    better.

    ε = ∞ has a place of its own above all finite ones. Runs without the metric are left out; void ones too. Settings that a
    run does not use are at “–”.

    Args:
        paths: of the settings to show, in order; None takes those that vary, at most :data:`MOST_AXES` axes with ε and the
            metric.

    Raises:
        KeyError: undeclared metric or setting.
    """
    told = METRICS[metric]
    used = [run for run in runs if not run.void and math.isfinite(run.metric(metric)) and not math.isnan(run.epsilon)]
    chosen = list(varying(used) if paths is None else paths)[: MOST_AXES - 2]
    about = origins(run.provenance for run in used)
    title = below(heading(f"Settings, ε and {told.label[0].lower()}{told.label[1:]}", [told.release]), about)
    figure = go.Figure(
        layout=base_layout(
            height=440,
            margin={"l": 120, "r": 70, "t": 130, "b": 30},
            title=title | {"y": 0.97, "yanchor": "top"},
        )
    )  # fmt: skip
    if not used:
        figure.add_annotation(
            text="No run has this metric yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
        return figure
    values = np.array([run.metric(metric) for run in used])
    axes = [_of_setting(path, used) for path in chosen]
    axes.append(_of_epsilon(used))
    axes.append(
        {"label": plain(told.label), "values": values, "tickformat": ".3~p" if told.unit == "share" else ".3~g"}
    )
    figure.add_parcoords(
        dimensions=axes,
        line={
            "color": values,
            "colorscale": LINE_SCALE,
            "reversescale": told.better == "down",
            "showscale": False,
        },
        unselected={"line": {"color": COLOURS[7], "opacity": 0.12}},
        labelfont={"size": 12},
        labelangle=-15 if len(axes) > 6 else 0,
        tickfont={"size": 11},
        rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
    )
    return figure


def _of_setting(path: str, runs: Sequence[Facts]) -> dict[str, Any]:
    """An axis: numbers where they are spread within a decade, powers of ten where wider, places for choices."""
    told = SETTINGS[path]
    raw = [run.setting(path) for run in runs]
    label = plain(told.label)
    there = [value for value in raw if value is not None]
    if told.is_number and len(there) == len(raw) and len(set(raw)) > 12:
        numbers = np.array(raw, dtype=float)
        if numbers.min() > 0 and numbers.max() / numbers.min() > 10:
            return {"label": label, **_log_axis(numbers)}
        return {"label": label, "values": numbers, "tickformat": "~g"}
    order = sorted(set(there)) if told.is_number else [key for key in told.choices if key in there]
    order += [value for value in dict.fromkeys(there) if value not in order]
    words = [told.show(value) for value in order]
    if len(there) < len(raw):
        order, words = [None, *order], ["–", *words]
    places = {value: place for place, value in enumerate(order)}
    return {
        "label": label,
        "values": [places[value] for value in raw],
        "tickvals": list(range(len(order))),
        "ticktext": [plain(word) for word in words],
        "range": [-0.3, len(order) - 0.7],
    }


def _of_epsilon(runs: Sequence[Facts]) -> dict[str, Any]:
    raw = np.array([run.epsilon for run in runs])
    finite = raw[np.isfinite(raw)]
    if not len(finite):
        return {"label": "ε", "values": np.zeros(len(raw)), "tickvals": [0], "ticktext": ["∞"], "range": [-1, 1]}
    axis = _log_axis(finite)
    top = math.log10(finite.max()) + 0.25
    values = np.where(np.isfinite(raw), np.log10(np.where(np.isfinite(raw), raw, 1.0)), top)
    if len(finite) < len(raw):
        axis |= {"tickvals": [*axis["tickvals"], top], "ticktext": [*axis["ticktext"], "∞"]}
    low, high = float(values.min()), float(values.max())
    return {"label": "ε spent", **axis, "values": values, "range": [low - 0.03, high + 0.03]}


def _log_axis(numbers: np.ndarray) -> dict[str, Any]:
    """Values and ticks of a logarithmic axis, which parallel coordinates do not know: 1, 2 and 5 of each decade within."""
    low, high = float(numbers.min()), float(numbers.max())
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
        if low * 0.999 <= digit * 10.0**power <= high * 1.001
    ]
    ticks = ticks or [low, high]
    return {
        "values": np.log10(numbers),
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
