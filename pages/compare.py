"""Runs side by side: ``/compare?runs=A,B,C``."""

from __future__ import annotations

import streamlit as st

from privlab.ui import comparepage, sitemap, urls
from privlab.ui.access import store
from privlab.ui.guard import escape, guarded, show_notice
from privlab.ui.importing import bring_in
from privlab.ui.writingcard import write_on


@guarded()
def page() -> None:
    show_notice()
    runs = store().list()
    known = {run.id: run for run in runs}
    named = urls.run_ids()
    if missing := [run_id for run_id in named if run_id not in known]:
        st.warning(escape(f"Not here, perhaps deleted: {', '.join(missing)}. The other runs of the address are shown."))
    if not runs:
        st.info(
            "There are no runs to compare yet. Launch some in the Lab: four privacy levels at once make a good start."
        )
        bring_in()
        return sitemap.link_to_lab()
    bring_in()
    chosen = comparepage.table(runs, [run_id for run_id in named if run_id in known])
    if not chosen:
        st.info("Tick runs in the table to lay their curves over each other.")
        return
    selected = [known[run_id] for run_id in chosen]
    curves, settings = st.columns([3, 2], gap="medium")
    with curves:
        comparepage.overlay(selected)
    with settings:
        comparepage.differences(selected)
        comparepage.downloads(selected)
    write_on(selected, "write-on")


page()
