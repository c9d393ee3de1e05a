"""A metric over two settings; cells that no run has filled stay open."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from privlab.analysis.grid import Grid, cell_key
from privlab.analysis.settings import SETTINGS
from privlab.charts.figure import base_layout, below, heading, origins
from privlab.charts.style import COLOURS, SCALE
from privlab.metrics import METRICS


def heatmap_figure(found: Grid, chosen: str = "") -> go.Figure:
    """One cell for each pair of values, with the mean in it. Open cells have an outline; their ``customdata`` is the pair to
    launch. ``ids`` are the cells' keys; the cell of key ``chosen`` has a frame.

    The better end of the scale is always the light one.
    """
    told = METRICS[found.metric]
    percent = told.unit == "share"
    across, up = len(found.x_values), len(found.y_values)
    x, y = (
        [_said(path, value) for value in values]
        for path, values in ((found.x, found.x_values), (found.y, found.y_values))
    )
    caution = f"each cell also averages over {', '.join(found.others)}" if found.others else ""
    figure = go.Figure(
        layout=base_layout(
            height=max(320, 150 + 44 * len(y)),
            showlegend=False,
            title=below(heading(told.label, [told.release]), origins(run.provenance for run in found.runs), caution),
            xaxis={
                "type": "category",
                "title": {"text": SETTINGS[found.x].label_and_unit},
                "range": [-0.5, across - 0.5],
                "showgrid": False,
                "automargin": True,
            },
            yaxis={
                "type": "category",
                "title": {"text": SETTINGS[found.y].label_and_unit},
                "range": [-0.5, up - 0.5],
                "showgrid": False,
                "automargin": True,
            },
        )
    )
    if not found.runs:
        figure.add_annotation(
            text="No run has both settings and this metric", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
        return figure
    show = np.vectorize(lambda value, n: f"{told.show(value, 1)}" if n else "", otypes=[str])
    figure.add_heatmap(
        x=x,
        y=y,
        z=found.mean,
        text=show(found.mean, found.n),
        texttemplate="%{text}",
        customdata=[[f"{n:,} run{'' if n == 1 else 's'}" for n in row] for row in found.n.tolist()],
        ids=[[cell_key(column, row) for column in found.x_values] for row in found.y_values],
        colorscale=SCALE,
        reversescale=told.better == "down",
        hoverongaps=False,
        xgap=3,
        ygap=3,
        colorbar={"tickformat": ".3~p" if percent else "~g", "thickness": 14, "outlinewidth": 0},
        hovertemplate=(
            f"{SETTINGS[found.x].label}: %{{x}}<br>{SETTINGS[found.y].label}: %{{y}}<br>"
            f"{told.label}: %{{z:{'.2%' if percent else '.4~g'}}}<br>%{{customdata}}<extra></extra>"
        ),
    )
    pairs = found.open_cells
    if pairs:
        figure.add_scatter(
            x=[_said(found.x, column) for column, _ in pairs],
            y=[_said(found.y, row) for _, row in pairs],
            mode="markers+text",
            text=["not run"] * len(pairs) if len(x) <= 8 else None,
            textfont={"size": 10, "color": COLOURS[7]},
            textposition="bottom center",
            marker={"symbol": "square-open", "size": 14, "color": COLOURS[7], "line": {"width": 1.5}},
            customdata=pairs,
            ids=[cell_key(*pair) for pair in pairs],
            hovertemplate="not run yet: %{x}, %{y}<extra></extra>",
        )
    if place := found.place(chosen):
        row, column = place
        figure.add_shape(
            type="rect", x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5,
            line={"color": COLOURS[1], "width": 4},
        )  # fmt: skip
    return figure


def _said(path: str, value: Any) -> str:
    return SETTINGS[path].show(value)
