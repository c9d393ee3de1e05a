"""What all static figures share."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from privlab.charts.live import X_AXES

#: Height of static charts, pixels.
HEIGHT = 420


def plain(text: object) -> str:
    """Text that Plotly shows as it is: Plotly reads tags and entities in names, labels and hover texts."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def base_layout(**changes: Any) -> go.Layout:
    """A calm layout without colours of its own, so that the page's light or dark theme shows through."""
    layout = go.Layout(
        height=HEIGHT,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "traceorder": "normal"},
        xaxis={"zeroline": False, "automargin": True},
        yaxis={"zeroline": False, "automargin": True},
    )
    return layout.update(changes)


def x_axis(x: str, log: bool = False) -> dict[str, Any]:
    """Title and scale of an x axis. Raises ValueError for an ``x`` that is not in :data:`~privlab.charts.live.X_AXES`."""
    if x not in X_AXES:
        raise ValueError(f"x={x!r} is not one of {', '.join(X_AXES)}.")
    return {"title": {"text": X_AXES[x]}, "type": "log" if log else "linear", "tickformat": "~g"}
