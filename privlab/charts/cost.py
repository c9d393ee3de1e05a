"""What a training step costs by method, as bars."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from privlab.charts.figure import base_layout, plain
from privlab.charts.style import COLOURS

_ROW, _GAP = 26, 46
#: Room to the right of the longest bar, in its lengths, for what is written there.
_ROOM = 1.8


def cost_figure(
    names: Sequence[str],
    seconds: Sequence[float],
    times: Sequence[str],
    memory: Sequence[int | None],
    sizes: Sequence[str],
    marked: int | None,
    hover: Sequence[str],
) -> go.Figure:
    """Time and memory of a step, a bar for each method in both.

    Args:
        names: of the methods, from top to bottom; all lists are as long.
        seconds, times: of a step, as numbers and as words.
        memory, sizes: bytes at the peak of a step, None where unknown, and in words.
        marked: place of the method that is chosen; it is told by an arrow before its name and by its colour.
        hover: more about each.
    """
    rows = len(names)
    figure = make_subplots(rows=2, cols=1, vertical_spacing=_GAP / (2 * _ROW * rows + _GAP))
    labels = [f"<b>▸ {plain(name)}</b>" if place == marked else plain(name) for place, name in enumerate(names)]
    colours = [COLOURS[0] if place == marked else COLOURS[7] for place in range(rows)]
    parts = (
        ("Time of a step · of the run", seconds, times),
        ("Most memory in a step", [m or 0 for m in memory], sizes),
    )
    for row, (title, values, words) in enumerate(parts, 1):
        figure.add_bar(
            row=row,
            col=1,
            orientation="h",
            x=list(values),
            y=labels,
            text=[plain(word) for word in words],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 11},
            marker={"color": colours},
            customdata=[plain(text) for text in hover],
            hovertemplate="%{customdata}<extra></extra>",
        )
        figure.update_xaxes(
            row=row, col=1, visible=False, fixedrange=True, range=[0, (1 + _ROOM) * max(*values, 1e-12)]
        )
        figure.update_yaxes(row=row, col=1, autorange="reversed", automargin=True, fixedrange=True, showgrid=False)
        axis = "y domain" if row == 1 else "y2 domain"
        figure.add_annotation(
            text=title, x=0, xref="paper", y=1, yref=axis, yanchor="bottom", xanchor="left", showarrow=False, yshift=2
        )
    return figure.update_layout(
        base_layout(
            height=2 * _ROW * rows + _GAP + 30, margin={"l": 4, "r": 4, "t": 24, "b": 4}, showlegend=False, bargap=0.35
        )
    )
