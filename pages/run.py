"""One run in depth: ``/run?run=ID``."""

from __future__ import annotations

import streamlit as st

from privlab.runs.store import UnknownRun
from privlab.ui import runpage, sitemap, urls
from privlab.ui.access import store
from privlab.ui.controls import undo_delete
from privlab.ui.guard import escape, guarded, show_notice
from privlab.ui.plantedcard import planted_secrets
from privlab.ui.writingcard import write_on


@guarded()
def page() -> None:
    show_notice()
    run_id = urls.run_id()
    if run_id is None:
        return runpage.choose("Which run do you want to see?")
    try:
        run = store().get(run_id)
    except UnknownRun as error:
        st.error(escape(str(error)))
        return runpage.choose("These runs are here:")
    if run.deleted is not None:
        undo_delete(run)
        return sitemap.link_to_lab()
    runpage.header(run)
    runpage.charts(run)
    write_on([run], "write-on")
    left, right = st.columns([1, 1], gap="medium")
    with left:
        planted_secrets(run)
        runpage.privacy(run)
        runpage.steps_of_algorithm(run)
    with right:
        runpage.exports(run)
        runpage.settings(run)
    runpage.events(run)


page()
