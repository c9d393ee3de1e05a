"""Two runs step by step: how much better one is than the other at equal steps, or at equal ε."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from privlab.analysis.facts import Facts
from privlab.charts.decimate import decimate
from privlab.charts.figure import base_layout, below, heading, origins, plain, x_axis
from privlab.charts.style import COLOURS
from privlab.metrics import METRICS


def difference_figure(
    a: Facts, b: Facts, metric: str = "test_accuracy", *, x: str = "step", names: tuple[str, str] | None = None
) -> go.Figure:
    """A minus B where both were measured; B is read between its points, and nothing beyond them.

    Args:
        a, b: with curves.
        names: that tell them apart where theirs do not.
        x: ``step``, ``epoch``, ``seconds`` or ``epsilon``; on the ε axis only where both have a guarantee.

    Raises:
        KeyError: undeclared metric.
        ValueError: an unknown ``x``.
    """
    told = METRICS[metric]
    one, other = (plain(name) for name in names or (a.called, b.called))
    percent = told.unit == "share"
    unit = " (points)" if percent else ""
    figure = go.Figure(
        layout=base_layout(
            height=340,
            showlegend=False,
            title=below(
                heading(f"{told.label}: {one} minus {other}", [told.release]),
                origins((a.provenance, b.provenance)),
                {"up": "above 0 the first is better", "down": "below 0 the first is better"}.get(told.better, ""),
            ),
            xaxis={**x_axis(x), "zeroline": False, "automargin": True},
            yaxis={"title": {"text": f"Difference{unit}"}, "zeroline": True, "zerolinewidth": 2, "automargin": True},
        )
    )
    at, difference = _difference(a.curve, b.curve, metric, x)
    if not len(at):
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text="They have no common stretch with this metric", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )  # fmt: skip
        return figure
    rows = decimate([difference])
    figure.add_scatter(
        x=at[rows], y=(100 * difference if percent else difference)[rows], mode="lines",
        line={"color": COLOURS[0], "width": 2},
        hovertemplate=f"%{{y:+.4~g}}{unit}<br>{x if x != 'epsilon' else 'ε'} %{{x:.5~g}}<extra></extra>",
    )  # fmt: skip
    return figure


def _difference(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], metric: str, x: str
) -> tuple[np.ndarray, np.ndarray]:
    if not all(metric in curve and x in curve for curve in (a, b)):
        return np.empty(0), np.empty(0)
    (at, value), (grid, other) = (_known(curve[x], curve[metric]) for curve in (a, b))
    if not len(at) or not len(grid):
        return np.empty(0), np.empty(0)
    found = value - np.interp(at, grid, other, left=np.nan, right=np.nan)
    there = np.isfinite(found)
    return at[there], found[there]


def _known(at: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at, value = np.asarray(at, dtype=float), np.asarray(value, dtype=float)
    there = np.isfinite(at) & np.isfinite(value)
    at, value = at[there], value[there]
    later = np.append(at[1:] > at[:-1], True) if len(at) else there[:0]
    return at[later], value[later]
