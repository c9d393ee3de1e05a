"""Sweeps: ``/sweeps``, one of them ``/sweeps?sweep=ID``, a new one ``/sweeps?from=RUN`` (or a preset's name)."""

from __future__ import annotations

import streamlit as st

from privlab.runs.store import UnknownSweep
from privlab.ui import urls
from privlab.ui.access import store
from privlab.ui.guard import escape, guarded, show_notice
from privlab.ui.sweeps.form import new_sweep
from privlab.ui.sweeps.listing import all_sweeps
from privlab.ui.sweeps.view import one_sweep


@guarded()
def page() -> None:
    show_notice()
    sweep_id = urls.sweep_id()
    if sweep_id is None:
        return new_sweep(start) if (start := urls.sweep_from()) else all_sweeps()
    try:
        store().sweep(sweep_id)
    except UnknownSweep as error:
        st.error(escape(str(error)))
        return all_sweeps()
    one_sweep(sweep_id)


page()
