"""A chart with reading lines that a person drags and whose places the page is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from privlab.ui import served


def dragged_figure(key: str, figure: go.Figure, label: str, on_move: Callable[[str, float], None]) -> None:
    """Mount ``figure``; each of its shapes that has a name can be dragged.

    Args:
        key: unique name in the page; the chart's ``data-testid``.
        figure: with a height; upright lines have ``yref="paper"``, level ones ``xref="paper"``.
        label: what a screen reader says.
        on_move: called with a shape's name and its new place on the axis, before the script runs again.
    """

    def moved() -> None:
        told = st.session_state[key].get("moved")
        if told:
            on_move(str(told["name"]), float(told["value"]))

    _component(key, int(figure.layout.height))(
        key=key,
        data={
            "module": served.url("figure.js"),
            "plotly": served.url("plotly.min.js"),
            "figure": figure.to_json(),
            "label": label,
        },
        on_moved_change=moved,
    )


@cache
def _component(key: str, height: int) -> Any:
    return st.components.v2.component(
        f"privlab_figure_{key.replace('-', '_')}_{height}",
        html=f'<div class="privlab-figure" role="img" data-testid="{key}" style="height: {height}px"></div>',
        js=served.boot(),
        isolate_styles=False,
    )
