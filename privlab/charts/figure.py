"""What all static figures share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from privlab.charts.live import X_AXES, Mark
from privlab.charts.style import PROVENANCE
from privlab.metrics import Metric, Release

#: Height of static charts, pixels.
HEIGHT = 420
#: A second x axis, from 0 to 1, which zooming does not move: what has no ε lies on it across the whole width.
ACROSS = {"overlaying": "x", "range": [0, 1], "visible": False, "fixedrange": True}


def plain(text: object) -> str:
    """Text that Plotly shows as it is: Plotly reads tags and entities in names, labels and hover texts."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def base_layout(**changes: Any) -> go.Layout:
    """A calm layout without colours of its own, so that the page's light or dark theme shows through."""
    layout = go.Layout(
        height=HEIGHT,
        margin={"l": 60, "r": 20, "t": 64, "b": 50},
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "traceorder": "normal"},
        xaxis={"zeroline": False, "automargin": True},
        yaxis={"zeroline": False, "automargin": True},
    )
    return layout.update(changes)


def heading(text: str, releases: Iterable[Release]) -> dict[str, Any]:
    """A title with the release classes of what is shown in a smaller line below it."""
    below = ", ".join(release.value for release in releases)
    return {"text": text, "font": {"size": 15}, "subtitle": {"text": below, "font": {"size": 12}}}


def origins(provenances: Iterable[str]) -> str:
    """Where results are from, in words: ``12 trained here, 3 imported``; for the line below a title."""
    found = Counter(provenances)
    return ", ".join(f"{found[key]:,} {words}" for key, (_, words) in PROVENANCE.items() if found[key])


def below(title: dict[str, Any], *more: str) -> dict[str, Any]:
    """``title`` of :func:`heading` with more words in its smaller line; empty ones are left out."""
    words = " · ".join(part for part in (title["subtitle"]["text"], *more) if part)
    return title | {"subtitle": title["subtitle"] | {"text": words}}


def x_axis(x: str, log: bool = False) -> dict[str, Any]:
    """Title and scale of an x axis. Raises ValueError for an ``x`` that is not in :data:`~privlab.charts.live.X_AXES`."""
    if x not in X_AXES:
        raise ValueError(f"x={x!r} is not one of {', '.join(X_AXES)}.")
    return {"title": {"text": X_AXES[x]}, "type": "log" if log else "linear", "tickformat": "~g"}


def metric_axis(told: Metric) -> dict[str, Any]:
    """Title and labels of a y axis of ``told``."""
    return {
        "title": {"text": f"{told.label} (lower is better)" if told.better == "down" else told.label},
        "tickformat": ".3~p" if told.unit == "share" else "~g",
    }


def published(marks: Sequence[Mark], name: str, marker: dict[str, Any]) -> go.Scatter:
    """Published results, each with its source when a person points at it."""
    return go.Scatter(
        x=[mark.epsilon for mark in marks],
        y=[mark.value for mark in marks],
        name=name,
        mode="markers",
        marker=marker,
        customdata=[[plain(mark.label), plain(mark.source), plain(mark.note)] for mark in marks],
        hovertemplate=(
            "%{customdata[0]}<br>ε = %{x:~g} · accuracy %{y:.1%}<br>%{customdata[2]}<br>%{customdata[1]}<extra></extra>"
        ),
    )
