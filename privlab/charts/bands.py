"""A metric along ε: mean over seeds and its interval, one band for each group of repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from privlab.analysis.seeds import Band, Group, band
from privlab.charts.figure import ACROSS, base_layout, below, heading, metric_axis, origins, plain, x_axis
from privlab.charts.live import Mark, level_name
from privlab.charts.style import Style
from privlab.metrics import METRICS, Metric


@dataclass(frozen=True)
class Repeats:
    """A group with its curves, its name in the legend, and its look."""

    group: Group
    name: str
    style: Style


def bands_figure(
    groups: Sequence[Repeats],
    metric: str = "test_accuracy",
    marks: Iterable[Mark] = (),
    *,
    at: float | None = None,
    log: bool = True,
) -> go.Figure:
    """Mean and 95 % interval of each group against ε; a single run is a line of its own, without an interval.

    A group without a guarantee has no place on the ε axis: it is a level at the mean of its last values. Means are over the same runs
    everywhere, so a band ends where the first of its runs does.

    Args:
        groups: with curves in their facts, see :meth:`privlab.analysis.facts.Facts.of`.
        marks: published accuracies; drawn for the test accuracy only.
        at: a finite ε to mark with an upright line.

    Raises:
        KeyError: undeclared metric.
    """
    told = METRICS[metric]
    title = heading(f"{told.label} by settings", [told.release])
    runs = [run for each in groups for run in each.group.runs]
    several = any(each.group.n > 1 for each in groups)
    figure = go.Figure(
        layout=base_layout(
            height=460,
            title=below(
                title, origins(r.provenance for r in runs), "bands: 95 % interval of the mean" if several else ""
            ),
            xaxis=x_axis("epsilon", log),
            xaxis2=ACROSS,
            yaxis=metric_axis(told),
        )
    )
    drawn: list[float] = []
    for each in groups:
        found = band(each.group, metric)
        if len(found.epsilon):
            add_band(figure, each.name, found, each.style, told)
            drawn += [float(found.epsilon[0]), float(found.epsilon[-1])]
        elif all(math.isinf(run.epsilon) for run in each.group.runs):
            _add_level(figure, each, told)
    if metric == "test_accuracy" and (published := list(marks)):
        figure.add_scatter(
            x=[mark.epsilon for mark in published], y=[mark.value for mark in published], mode="markers", name="published",
            marker={"symbol": "star-open", "size": 11, "color": "#7F8C8D"},
            customdata=[[plain(mark.label), plain(mark.source)] for mark in published],
            hovertemplate="%{customdata[0]}<br>ε = %{x:~g} · accuracy %{y:.1%}<br>%{customdata[1]}<extra></extra>",
        )  # fmt: skip
        drawn += [mark.epsilon for mark in published]
    if at is not None and math.isfinite(at):
        figure.add_vline(at, line={"color": "#7F8C8D", "width": 1.5, "dash": "dot"})
    if log:
        figure.layout.xaxis.update({"dtick": "D2"} if drawn and max(drawn) / min(drawn) >= 4 else {"nticks": 6})
    return figure


def add_band(figure: go.Figure, name: str, found: Band, look: Style, told: Metric) -> None:
    """One mean and, where there are repeats, its interval; both go with one click in the legend. Nothing for an empty band."""
    if not len(found.epsilon):
        return
    red, green, blue = (int(look.colour[at : at + 2], 16) for at in (1, 3, 5))
    legend = {"legendgroup": f"band-{name}"}
    known = np.isfinite(found.low)
    if known.any():
        x = found.epsilon[known]
        figure.add_scatter(
            x=[*x, *x[::-1]], y=[*found.high[known], *found.low[known][::-1]], fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.18)", line={"width": 0}, hoverinfo="skip", showlegend=False, **legend,
        )  # fmt: skip
    shown = ".2%" if told.unit == "share" else ".4~g"
    figure.add_scatter(
        x=found.epsilon, y=found.mean, mode="lines", name=plain(name), customdata=found.n,
        line={"color": look.colour, "dash": look.dash, "width": 2},
        hovertemplate=f"{plain(name)}<br>mean of %{{customdata}}: %{{y:{shown}}}<br>ε = %{{x:.4~g}}<extra></extra>",
        **legend,
    )  # fmt: skip


def _add_level(figure: go.Figure, each: Repeats, told: Metric) -> None:
    summary = each.group.farthest.summary(told.key)
    if not summary.n:
        return
    name = level_name(plain(each.name))
    figure.add_scatter(
        x=[0, 0.02, 1], y=[summary.mean] * 3, xaxis="x2", mode="lines+text", name=name, text=["", name, ""],
        textposition="top right", line={"color": each.style.colour, "dash": "dash", "width": 2},
        hovertemplate=f"{plain(each.name)}<br>{told.show(summary.mean)} over {summary.n} runs, no guarantee<extra></extra>",
    )  # fmt: skip
