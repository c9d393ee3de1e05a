"""What the settings did: lines across them, which of them decided, and two of them as a map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from privlab.analysis.facts import Facts
from privlab.analysis.grid import grid
from privlab.analysis.importance import Importances, importances, varying
from privlab.analysis.settings import SETTINGS
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.importance import importance_figure
from privlab.charts.parallel import parallel_figure
from privlab.metrics import METRICS
from privlab.ui.compare import state
from privlab.ui.compare.library import Entry
from privlab.ui.compare.view import View
from privlab.ui.guard import escape

_PLAIN = {"displaylogo": False}


def settings(shown: Sequence[Entry], view: View, metric: str) -> None:
    """Three charts over all runs that pass the filter."""
    facts = tuple(entry.facts for entry in shown if not entry.facts.void)
    differ = varying(facts) if facts else []
    if not differ:
        st.info(
            "These runs all have the same settings, seeds apart. Show more of them, or launch one with another setting."
        )
        return
    st.plotly_chart(parallel_figure(facts, metric), key="settings-parallel", config=_PLAIN)
    st.caption("One line a run. Drag along an axis to keep the lines that pass there; drag a name to move its axis.")
    left, right = st.columns(2, gap="medium")
    with left:
        with st.spinner("Growing a forest over these runs …"):
            found = _importances(facts, metric)
        st.plotly_chart(importance_figure(found), key="settings-importance", config=_PLAIN)
        for caution in found.cautions:
            st.caption(escape(caution))
    with right:
        _map(facts, differ, found, view, metric)


@lru_cache(maxsize=16)
def _importances(facts: tuple[Facts, ...], metric: str) -> Importances:
    """Facts of unchanged runs are the same objects, so an unchanged page grows its forest once."""
    return importances(facts, metric)


def _map(facts: Sequence[Facts], differ: Sequence[str], found: Importances, view: View, metric: str) -> None:
    """The metric over two settings; at first over the two that decided most."""
    offered = list(
        dict.fromkeys([*(each.path for each in found.settings), *differ, *(p for p in (view.x, view.y) if p)])
    )
    if len(offered) < 2:
        st.info("Only one setting differs here, so there is no map of two.")
        return
    x = view.x or offered[0]
    y = view.y if view.y and view.y != x else next(path for path in offered if path != x)
    one, two = st.columns(2)
    one.selectbox("Across", offered, format_func=_label, **state.shows("x", "map-x", x))
    two.selectbox("Upwards", [p for p in offered if p != x], format_func=_label, **state.shows("y", "map-y", y))
    cells = grid(facts, x, y, metric)
    if not cells.runs:
        st.info(f"No run has both settings and a {METRICS[metric].label.lower()}.")
        return
    st.plotly_chart(heatmap_figure(cells), key="settings-map", config=_PLAIN)
    if cells.open_cells:
        st.caption(f"{len(cells.open_cells)} cells are open: no run has that pair of values.")


def _label(path: str) -> str:
    return SETTINGS[path].label
