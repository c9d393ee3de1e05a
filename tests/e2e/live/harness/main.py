"""The harness page: a live panel over the runs that the URL names (`?runs=A,B&page=lab|run|two`)."""

from __future__ import annotations

import streamlit as st

from privlab.charts.live import TILES, Mark, lab_panels, run_panels
from privlab.runs.store import UnknownRun
from privlab.ui.access import store
from privlab.ui.live import LiveRun, live_panel, live_run

st.set_page_config(layout="wide")
MARKS = (
    Mark(3.0, 0.86, "CNN <b>bold</b> & co", "A source", "δ = 1e-05"),
    Mark(3.0, 0.897, "ScatterNet + linear", "Another source", "δ = 1e-05"),
    Mark(1.0, 0.72, "Random-process priors", "A third source", "δ = 1e-05"),
)


def run_of(run_id: str) -> LiveRun:
    try:
        return live_run(store().get(run_id))
    except UnknownRun:
        return LiveRun(run_id, run_id)


st.session_state.count = st.session_state.get("count", 0) + 1
with st.container(horizontal=True):
    st.button("Rerun", key="rerun")
    fewer = st.checkbox("Only the first run", key="fewer")
    gone = st.checkbox("No panel", key="gone")
    st.markdown(f"script run {st.session_state.count}")
ids = [run_id for run_id in st.query_params.get("runs", "").split(",") if run_id]
runs = [run_of(run_id) for run_id in (ids[:1] if fewer else ids)]
page = st.query_params.get("page", "lab")
if gone:
    st.markdown("The panel is gone.")
elif page == "run":
    live_panel("depth", runs=runs, panels=run_panels(store().get(ids[0]).plan), tiles=TILES, marks=MARKS)
else:
    live_panel("lab", runs=runs, panels=lab_panels(), tiles=TILES, marks=MARKS, rerun_on_status=True)
    if page == "two":
        live_panel("second", runs=runs[:1], panels=lab_panels(), x="step", height=300)
