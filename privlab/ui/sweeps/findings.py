"""What a sweep found, as a map and a front; a click on one of them picks combinations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st

from privlab.analysis.grid import Grid, cell_key
from privlab.analysis.settings import SETTINGS
from privlab.charts.heatmap import heatmap_figure
from privlab.charts.parallel import parallel_figure
from privlab.charts.pareto import pareto_figure
from privlab.metrics import METRICS
from privlab.sweeps.figures import facts_of, fronts_of, grid_of, mapped
from privlab.sweeps.results import Row, Standing
from privlab.sweeps.space import in_words, shown
from privlab.ui import urls
from privlab.ui.access import store
from privlab.ui.figure import touched_figure

_HEIGHT = 460
_QUIET = {"displayModeBar": False}


@dataclass(frozen=True)
class Picked:
    """What was clicked, in words, and the combinations it stands for."""

    words: str
    rows: list[Row]


def findings(now: Standing) -> Picked | None:
    """The two charts beside each other, and what is picked in one of them; None for nothing."""
    left, right = st.columns(2, gap="medium")
    void, pick = _void(now), urls.picked()
    with left:
        picked = _map(now, void, pick)
    picked = picked or _of_run(now, pick)
    with right:
        found = fronts_of(now, void)
        if not found:
            st.info("The front appears with the first measured point.")
            return picked
        ours = [result.kept.run_id for row in picked.rows for result in row.results] if picked else []
        figure = pareto_figure(found[0], chosen=ours)
        # Its two reading lines are for Compare, where they can be dragged.
        figure.layout.shapes = ()
        said = f"{METRICS[now.spec.metric].label} of {now.launched} runs against ε"
        touched_figure("sweep-front", figure, said, on_click=_pick)
        if len(found) > 1:
            st.caption(f"{len(found) - 1} more data sets or promises have fronts of their own; Compare shows them.")
    return picked


def _pick(key: str) -> None:
    """A second click on the same lets it go."""
    urls.pick(None if urls.picked() == key else key)


def _of_run(now: Standing, run_id: str | None) -> Picked | None:
    """The combination that a run of the front belongs to."""
    for row in now.accepted:
        if any(result.kept.run_id == run_id for result in row.results):
            return Picked(in_words(row.trial.values), [row])
    return None


def _void(now: Standing) -> set[str]:
    ours = {result.kept.run_id for _, result in now.results}
    return {each.run_id for each in store().spent() if each.void and each.run_id in ours}


def _map(now: Standing, void: set[str], pick: str | None) -> Picked | None:
    sides = mapped(now)
    if len(sides) < 2:
        figure = parallel_figure(facts_of(now, void), now.spec.metric, now.spec.space.paths)
        st.plotly_chart(
            figure, key="sweep-parallel", config=_QUIET, alt="One line a run through the settings that vary"
        )
        return None
    x, y = sides[0], sides[1]
    if len(sides) > 2:
        across, up = st.columns(2)
        x = across.selectbox("Across", sides, format_func=_label, key="map-x")
        rest = [path for path in sides if path != x]
        y = up.selectbox("Up", rest, format_func=_label, key=f"map-y-{x}")
    grid = grid_of(now, x, y, void)
    if not grid.runs:
        st.info("The map fills in with the first run that finishes.")
        return None
    figure = heatmap_figure(grid, pick or "")
    # As high as the front beside it; a scale of one value would have made-up ends.
    figure.update_layout(height=max(figure.layout.height, _HEIGHT))
    figure.update_traces(showscale=int((grid.n > 0).sum()) > 1, selector={"type": "heatmap"})
    touched_figure("sweep-map", figure, _in_words(now, grid), on_click=_pick)
    place = grid.place(pick or "")
    if place is None:
        return None
    values = {x: grid.x_values[place[1]], y: grid.y_values[place[0]]}
    rows = [row for row in now.accepted if cell_key(row.trial.values[x], row.trial.values[y]) == pick]
    return Picked(in_words(values), rows)


def _label(path: str) -> str:
    return SETTINGS[path].label


def _in_words(now: Standing, grid: Grid) -> str:
    told = METRICS[now.spec.metric]
    cells = [
        f"{shown(grid.x, x)}, {shown(grid.y, y)}: {told.show(float(grid.mean[row, column]))}"
        for row, y in enumerate(grid.y_values)
        for column, x in enumerate(grid.x_values)
        if not math.isnan(grid.mean[row, column])
    ]
    return f"Mean {told.label.lower()} by {_label(grid.x)} and {_label(grid.y)}: {'; '.join(cells[:50])}"
