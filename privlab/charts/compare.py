"""Finished or running runs over one another, beside published results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from privlab.charts.decimate import decimate
from privlab.charts.figure import ACROSS, base_layout, heading, metric_axis, plain, published, x_axis
from privlab.charts.live import Mark, level_name
from privlab.charts.style import Style, style
from privlab.metrics import METRICS

_FIRST = style(0)


@dataclass(frozen=True)
class Curve:
    """One run to overlay.

    Attributes:
        id: the run's id.
        label: its name in the legend.
        columns: arrays of one length by name, as :meth:`privlab.runs.store.Store.columns` gives them; ``epsilon`` is NaN
            where no guarantee is claimed.
        settings: one line for the hover text.
        style: its look, the same wherever the run is drawn, see :func:`privlab.charts.style.styles`.
    """

    id: str
    label: str
    columns: Mapping[str, np.ndarray]
    settings: str = ""
    style: Style = _FIRST


def overlay_figure(
    curves: Sequence[Curve],
    references: Iterable[Mark] = (),
    *,
    x: str = "epsilon",
    log: bool = True,
    metric: str = "test_accuracy",
) -> go.Figure:
    """One metric of several runs against ε, step, epoch or seconds, with its release class in the title.

    On the ε axis a run without a guarantee has no place: it becomes a level at its last value, named ε = ∞. Each line is
    thinned to at most 2,000 points.

    Args:
        curves: the runs, in the order of the legend.
        references: published accuracies, drawn on the ε axis of the test accuracy only.
        x: a key of :data:`privlab.charts.live.X_AXES`.
        log: a logarithmic ε axis; other axes are linear.
        metric: a key of :data:`privlab.metrics.METRICS`.

    Raises:
        ValueError: an unknown ``x`` or ``metric``.
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is not declared in privlab.metrics.")
    told = METRICS[metric]
    percent = told.unit == "share"
    figure = go.Figure(
        layout=base_layout(
            title=heading(told.label, [told.release]),
            xaxis=x_axis(x, log and x == "epsilon"),
            yaxis=metric_axis(told) | {"type": "log" if metric == "test_perplexity" else "linear"},
        )
    )
    if x == "epsilon":
        figure.update_layout(xaxis2=ACROSS)
    for curve in curves:
        values = curve.columns.get(metric)
        if values is None or not np.isfinite(values).any():
            continue
        look = curve.style
        line = {"color": look.colour, "dash": look.dash, "width": 2.5}
        if x == "epsilon" and not np.isfinite(curve.columns["epsilon"]).any():
            figure.add_trace(_level(curve, float(values[np.isfinite(values)][-1]), line))
            continue
        rows = decimate([values])
        figure.add_scatter(
            x=curve.columns[x][rows],
            y=values[rows],
            name=plain(curve.label),
            mode="lines+markers" if len(rows) <= 120 else "lines",
            line=line,
            marker={"symbol": look.symbol, "size": 5},
            customdata=np.column_stack([curve.columns[name][rows] for name in ("step", "epoch", "epsilon")]),
            hovertemplate=(
                f"{plain(curve.label)}<br>{told.label}: %{{y:{'.2%' if percent else '.4~g'}}}<br>ε = %{{customdata[2]:.4~g}} · "
                f"step %{{customdata[0]}} · epoch %{{customdata[1]:.3~g}}<br>{plain(curve.settings)}<extra></extra>"
            ),
        )
    marks = list(references) if x == "epsilon" and metric == "test_accuracy" else []
    if marks:
        figure.add_trace(published(marks, "Published results", {"symbol": "star", "size": 12, "color": "#7F8C8D"}))
    if percent:
        figure.update_yaxes(autorangeoptions={"clipmin": -0.01, "clipmax": 1.01})
    if x == "epsilon" and log:
        figure.layout.xaxis.update(_log_ticks(figure))
    return figure


def _log_ticks(figure: go.Figure) -> dict[str, object]:
    """Labels at 1, 2 and 5 of each decade, where the curves are wide enough for that to be several labels."""
    drawn = [np.asarray(trace.x, dtype=float) for trace in figure.data if trace.xaxis != "x2"]
    values = np.concatenate(drawn) if drawn else np.array([])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return {"dtick": "D2", "range": [-1, 1]}
    return {"dtick": "D2"} if values.max() / values.min() >= 4 else {"nticks": 5, "minorloglabels": "none"}


def _level(curve: Curve, value: float, line: dict[str, object]) -> go.Scatter:
    """A line across the whole width, on a second axis from 0 to 1 that zooming does not move."""
    x = np.linspace(0, 1, 33)
    name = level_name(plain(curve.label))
    label = [""] * len(x)
    label[1] = name
    return go.Scatter(
        x=x,
        y=np.full(len(x), value),
        xaxis="x2",
        name=name,
        mode="lines+text",
        text=label,
        textposition="top right",
        line={**line, "dash": "dash"},
        hovertemplate=f"{plain(curve.label)}<br>%{{y:.4~g}} at the last point, ε = ∞<br>{plain(curve.settings)}<extra></extra>",
    )
