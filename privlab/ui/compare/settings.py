"""What the settings did: lines across them, which of them decided, and two of them as a map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from privlab.analysis.facts import Facts
from privlab.analysis.grid import Grid, grid
from privlab.analysis.importance import Importances, importances, varying
from privlab.analysis.settings import SETTINGS
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.importance import importance_figure
from privlab.charts.parallel import parallel_figure
from privlab.metrics import METRICS
from privlab.ui import sitemap
from privlab.ui.compare import state
from privlab.ui.compare.library import Entry
from privlab.ui.compare.view import View
from privlab.ui.figure import touched_figure
from privlab.ui.guard import escape
from privlab.ui.urls import MOST_RUNS

_PLAIN = {"displaylogo": False}
#: Runs of a cell that are listed by name.
_LISTED = 8


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
    told = METRICS[metric]
    said = f"Mean {told.label.lower()} by {_label(x)} and {_label(y)} of {len(cells.runs)} runs"
    touched_figure("settings-map", heatmap_figure(cells, view.cell), said, on_click=_clicked)
    if place := cells.place(view.cell):
        _cell(cells, *place, view)
        return
    words = ["Click a cell to see its runs."]
    if count := len(cells.open_cells):
        words.append(f"{count} {'pair has' if count == 1 else 'pairs have'} no run yet.")
    st.caption(" ".join(words))


def _clicked(key: str) -> None:
    """A second click on a cell closes it."""
    state.change(cell="" if state.view().cell == key else key)


def _cell(cells: Grid, row: int, column: int, view: View) -> None:
    """The runs of the clicked cell, best first, with links to their pages."""
    told = METRICS[cells.metric]
    runs = sorted(cells.runs_in(row, column), key=lambda run: run.metric(cells.metric), reverse=told.better == "up")
    where = ", ".join(
        f"{_label(path)} = {SETTINGS[path].show(value)}"
        for path, value in ((cells.x, cells.x_values[column]), (cells.y, cells.y_values[row]))
    )
    with st.container(border=True, key="cell-card"):
        if runs:
            mean = told.show(float(cells.mean[row, column]))
            many = "1 run" if len(runs) == 1 else f"{len(runs)} runs, {mean} on average"
        else:
            many = "no run has this pair yet"
        st.markdown(f"**{escape(where)}**: {many}.")
        for run in runs[:_LISTED]:
            sitemap.link_to_run(run.id, f"{escape(run.called)}: {told.show(run.metric(cells.metric))}")
        if len(runs) > _LISTED:
            st.caption(f"And {len(runs) - _LISTED} more.")
        with st.container(horizontal=True, gap="small"):
            ids = tuple(run.id for run in runs[:MOST_RUNS])
            if not set(ids) <= set(view.runs):
                best = "best " if len(ids) < len(runs) else ""
                words = "Choose it" if len(ids) == 1 else f"Choose its {best}{len(ids)} runs"
                st.button(words, key="cell-choose", on_click=state.choose, args=(ids,), help="Ticks them in the table.")
            st.button("Close", key="cell-close", type="tertiary", on_click=state.change, kwargs={"cell": ""})


def _label(path: str) -> str:
    return SETTINGS[path].label
