"""One panel of the live charts as a figure that stands still, for a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from privlab.charts.decimate import decimate
from privlab.charts.figure import base_layout, heading, x_axis
from privlab.charts.live import Panel
from privlab.charts.style import styles
from privlab.metrics import METRICS, SHARED


def shared_part(panel: Panel) -> Panel | None:
    """``panel`` with those of its metrics that may be handed on; None where there are none."""
    kept = tuple(key for key in panel.metrics if METRICS[key].release in SHARED)
    return replace(panel, metrics=kept) if kept else None


def still_figure(panel: Panel, columns: Mapping[str, np.ndarray], *, x: str = "step") -> go.Figure | None:
    """One run's metrics of ``panel``, a line each; None where none of them was measured.

    Args:
        columns: arrays of one length by name, as :meth:`privlab.runs.store.Store.columns` gives them.
        x: a key of :data:`privlab.charts.live.X_AXES`, where the panel has no axis of its own.

    Raises:
        ValueError: an unknown ``x``.
    """
    axis = panel.x or x
    measured = [key for key in panel.metrics if key in columns and np.isfinite(columns[key]).any()]
    if not measured:
        return None
    look = styles(panel.metrics)
    figure = go.Figure(
        layout=base_layout(
            title=heading(panel.title, panel.releases),
            xaxis={**x_axis(axis), "zeroline": False, "automargin": True},
            yaxis={
                "title": {"text": panel.y_title},
                "type": "log" if panel.log_y else "linear",
                "tickformat": ".3~p" if panel.percent else "~g",
                "zeroline": False,
                "automargin": True,
            },
            showlegend=len(measured) > 1,
        )
    )
    for key in measured:
        known = np.isfinite(columns[key]) & np.isfinite(columns[axis])
        values, places = columns[key][known], columns[axis][known]
        rows = decimate([values]) if len(values) else np.arange(0)
        figure.add_scatter(
            x=places[rows],
            y=values[rows],
            name=METRICS[key].label,
            mode="lines+markers" if len(rows) <= 120 else "lines",
            line={"color": look[key].colour, "dash": look[key].dash, "width": 2.5},
            marker={"symbol": look[key].symbol, "size": 5},
        )
    for level in panel.levels:
        figure.add_hline(level.value, line={"dash": "dash", "color": "#7F8C8D"}, annotation_text=level.label)
    return figure
