"""What the runs on one data set cost, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from privlab.charts.figure import base_layout, heading, plain
from privlab.charts.style import COLOURS
from privlab.metrics import Release


def ledger_figure(names: Sequence[str], alone: Sequence[float], cumulative: Sequence[float]) -> go.Figure:
    """ε of each run by itself as bars, of everything up to it as a stair.

    Args:
        names: of the runs, oldest first.
        alone, cumulative: ε, as many as ``names``.
    """
    places = list(range(1, len(names) + 1))
    figure = go.Figure(
        layout=base_layout(
            height=300,
            title=heading("ε spent, run by run", [Release.RELEASED]),
            xaxis={"title": {"text": "Run, oldest first"}, "dtick": max(1, len(names) // 12), "zeroline": False},
            yaxis={"rangemode": "tozero", "tickprefix": "ε = ", "showtickprefix": "last", "zeroline": False},
        )
    )
    if not names:
        figure.add_annotation(text="No run with a guarantee", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        return figure
    called = [plain(name) for name in names]
    hover = "%{customdata}<br>ε = %{y:.4~g}<extra></extra>"
    figure.add_bar(
        x=places, y=alone, name="this run alone", customdata=called, marker={"color": COLOURS[4]}, hovertemplate=hover
    )
    figure.add_scatter(
        x=places,
        y=cumulative,
        name="all runs up to it",
        customdata=called,
        mode="lines+markers",
        line={"shape": "hv", "color": COLOURS[1], "width": 2.5},
        hovertemplate=hover,
    )
    return figure
