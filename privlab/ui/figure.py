"""A chart that answers a hand: lines that are dragged, marks that are clicked; the page is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from privlab.ui import served


def touched_figure(
    key: str,
    figure: go.Figure,
    label: str,
    *,
    on_move: Callable[[str, float], None] | None = None,
    on_click: Callable[[str], None] | None = None,
) -> None:
    """Mount ``figure``. Later ones of the same ``key`` are drawn into the same chart: its zoom stays.

    Args:
        key: unique name in the page; the chart's ``data-testid``.
        figure: with a height; upright lines have ``yref="paper"``, level ones ``xref="paper"``.
        label: what a screen reader says.
        on_move: called with a shape's name and its new place on the axis, before the script runs again. Without it no line
            can be dragged.
        on_click: called with the id of what was clicked (``ids`` of its trace), before the script runs again.
    """

    def moved() -> None:
        if told := st.session_state[key].get("moved"):
            on_move(str(told["name"]), float(told["value"]))

    def clicked() -> None:
        if told := st.session_state[key].get("clicked"):
            on_click(str(told))

    _component(key, int(figure.layout.height))(
        key=key,
        data={
            "module": served.url("figure.js"),
            "plotly": served.url("plotly.min.js"),
            "figure": figure.to_json(),
            "label": label,
            "drags": on_move is not None,
            "clicks": on_click is not None,
        },
        on_moved_change=moved if on_move else lambda: None,
        on_clicked_change=clicked if on_click else lambda: None,
    )


@cache
def _component(key: str, height: int) -> Any:
    return st.components.v2.component(
        f"privlab_figure_{key.replace('-', '_')}_{height}",
        html=f'<div class="privlab-figure" role="img" data-testid="{key}" style="height: {height}px"></div>',
        js=served.boot(),
        isolate_styles=False,
    )
