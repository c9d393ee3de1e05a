"""Before a launch: the ε that these settings will have spent after each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading
from privlab.charts.style import COLOURS
from privlab.metrics import Release


def budget_figure(epochs: Sequence[float], epsilon: Sequence[float], target: float | None = None) -> go.Figure:
    """ε against epochs, with the target as a line.

    Args:
        epochs: expected passes over the data, ascending.
        epsilon: ε spent by then, of the same length; not finite where no guarantee is claimed.
        target: the privacy budget, if one was set.

    Returns:
        A figure 260 pixels high. Without a finite ε it says so instead of drawing a line.

    Raises:
        ValueError: the two sequences differ in length.
    """
    x, y = np.asarray(epochs, dtype=float), np.asarray(epsilon, dtype=float)
    if x.shape != y.shape:
        raise ValueError(f"{x.size} epochs and {y.size} values of ε; they must be equally many.")
    figure = go.Figure(
        layout=base_layout(
            height=260,
            margin={"l": 60, "r": 20, "t": 60, "b": 46},
            title=heading("ε that these settings spend", [Release.RELEASED]),
            showlegend=False,
            xaxis={"title": {"text": "Epoch"}, "zeroline": False, "rangemode": "tozero"},
            yaxis={"title": {"text": "ε spent"}, "zeroline": False, "rangemode": "tozero"},
        )
    )
    known = np.isfinite(y)
    if not known.any():
        figure.add_annotation(
            text="ε = ∞: these settings claim no guarantee", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
        return figure
    figure.add_scatter(
        x=x[known],
        y=y[known],
        mode="lines+markers" if known.sum() <= 60 else "lines",
        line={"color": COLOURS[0], "width": 2.5},
        marker={"size": 5},
        hovertemplate="epoch %{x:.3~g}<br>ε = %{y:.4~g}<extra></extra>",
    )
    if target is not None:
        figure.add_hline(
            y=target,
            line={"color": COLOURS[1], "dash": "dash", "width": 1.5},
            annotation={"text": f"target ε = {target:g}", "font": {"size": 12}},
            annotation_position="top left",
        )
    return figure
