"""Only what differs between the chosen runs, and two of them step by step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from privlab.charts.difference import difference_figure
from privlab.metrics import METRICS
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import View
from privlab.ui.settings import SECTIONS, SETTINGS, differing, values_of

_AXES = {"step": "at equal steps", "epsilon": "at equal ε", "seconds": "at equal time"}


def differences(chosen: Sequence[Entry], view: View, metric: str) -> None:
    """The table of settings in which the chosen runs differ, one column a run; then the difference of two."""
    chosen = sorted(chosen, key=lambda entry: entry.run.created)
    runs = [entry.run for entry in chosen]
    called = labels.names(runs)
    paths = differing([run.config for run in runs])
    if len(runs) == 1:
        st.caption("One run is chosen; tick another to see what differs.")
        return
    if paths:
        flat = {run.id: values_of(run.config) for run in runs}
        st.table(
            pd.DataFrame(
                {called[run.id]: [SETTINGS[path].show(flat[run.id][path]) for path in paths] for run in runs},
                index=pd.Index([f"{SECTIONS[path.split('.')[0]]}: {SETTINGS[path].label}" for path in paths], name="Setting"),
            )
        )  # fmt: skip
    else:
        st.caption("The settings are all alike.")
    _results(chosen, called)
    _step_by_step(chosen, called, view, metric)


def _results(chosen: Sequence[Entry], called: dict[str, str]) -> None:
    """What came of them, beside each other. How long each part of a step took stands on the runs' pages."""
    measured = [
        key
        for key, told in METRICS.items()
        if told.better and told.unit != "s" and any(key in each.run.metrics for each in chosen)
    ]
    rows: dict[str, list[str]] = {"ε spent": [labels.epsilon(entry.run) for entry in chosen]}
    for key in measured:
        values = [entry.run.metrics.get(key) for entry in chosen]
        rows[METRICS[key].label] = ["–" if value is None else METRICS[key].show(value) for value in values]
    st.table(pd.DataFrame(rows, index=[called[entry.id] for entry in chosen]).T.rename_axis("Result"))


def _step_by_step(chosen: Sequence[Entry], called: dict[str, str], view: View, metric: str) -> None:
    ids = [entry.id for entry in chosen]
    a = view.a if view.a in ids else ids[0]
    b = view.b if view.b in ids and view.b != a else next(each for each in ids if each != a)
    one, two, three = st.columns(3, vertical_alignment="bottom")
    one.selectbox("First run", ids, format_func=called.get, **state.shows("a", "difference-a", a))
    two.selectbox(
        "minus", [each for each in ids if each != a], format_func=called.get, **state.shows("b", "difference-b", b)
    )
    by_id = {entry.id: entry for entry in chosen}
    offered = [axis for axis in _AXES if axis != "epsilon" or all(by_id[each].facts.has_guarantee for each in (a, b))]
    with three:
        axis = st.segmented_control(
            "Compared", offered, format_func=_AXES.get, default="step", key="difference-axis", required=True
        )
    first, second = library(store()).with_curves([by_id[a], by_id[b]])
    figure = difference_figure(first, second, metric, x=axis, names=(called[a], called[b]))
    st.plotly_chart(figure, key="difference-figure", config={"displaylogo": False})
