"""What a sweep found, as figures: a map of the settings, and the front over ε."""

from __future__ import annotations

import math

import streamlit as st

from privlab.analysis.grid import Grid
from privlab.analysis.settings import SETTINGS
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.parallel import parallel_figure
from privlab.charts.pareto import pareto_figure
from privlab.metrics import METRICS
from privlab.sweeps.figures import facts_of, fronts_of, grid_of, mapped
from privlab.sweeps.results import Standing
from privlab.sweeps.space import shown
from privlab.ui.access import store

_HEIGHT = 460
_QUIET = {"displayModeBar": False}


def findings(now: Standing) -> None:
    """Both figures, side by side."""
    left, right = st.columns(2, gap="medium")
    void = _void(now)
    with left:
        _map(now, void)
    with right:
        found = fronts_of(now, void)
        if not found:
            st.info("The front appears with the first measured point.")
            return
        figure = pareto_figure(found[0])
        # Its two reading lines are for a page on which they can be dragged.
        figure.layout.shapes = ()
        st.plotly_chart(figure, key="sweep-front", config=_QUIET, alt=_front_in_words(now))
        if len(found) > 1:
            st.caption(f"{len(found) - 1} more data sets or promises have fronts of their own; Compare shows them.")


def _void(now: Standing) -> set[str]:
    ours = {result.kept.run_id for _, result in now.results}
    return {each.run_id for each in store().spent() if each.void and each.run_id in ours}


def _front_in_words(now: Standing) -> str:
    return f"{METRICS[now.spec.metric].label} of {now.launched} runs against ε"


def _map(now: Standing, void: set[str]) -> None:
    sides = mapped(now)
    if len(sides) < 2:
        figure = parallel_figure(facts_of(now, void), now.spec.metric, now.spec.space.paths)
        st.plotly_chart(
            figure, key="sweep-parallel", config=_QUIET, alt="One line a run through the settings that vary"
        )
        return
    x, y = sides[0], sides[1]
    if len(sides) > 2:
        across, up = st.columns(2)
        x = across.selectbox("Across", sides, format_func=_label, key="map-x")
        rest = [path for path in sides if path != x]
        y = up.selectbox("Up", rest, format_func=_label, key=f"map-y-{x}")
    grid = grid_of(now, x, y, void)
    if not grid.runs:
        st.info("The map fills in with the first run that finishes.")
        return
    figure = heatmap_figure(grid)
    # As high as the front beside it; a scale of one value would have made-up ends.
    figure.update_layout(height=max(figure.layout.height, _HEIGHT))
    figure.update_traces(showscale=int((grid.n > 0).sum()) > 1, selector={"type": "heatmap"})
    st.plotly_chart(figure, key="sweep-map", config=_QUIET, alt=_map_in_words(now, grid))


def _label(path: str) -> str:
    return SETTINGS[path].label


def _map_in_words(now: Standing, grid: Grid) -> str:
    told = METRICS[now.spec.metric]
    cells = [
        f"{shown(grid.x, x)}, {shown(grid.y, y)}: {told.show(float(grid.mean[row, column]))}"
        for row, y in enumerate(grid.y_values)
        for column, x in enumerate(grid.x_values)
        if not math.isnan(grid.mean[row, column])
    ]
    return f"Mean {told.label.lower()} by {_label(grid.x)} and {_label(grid.y)}: {'; '.join(cells[:50])}"
