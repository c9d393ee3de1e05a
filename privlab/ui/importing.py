"""Taking in a run that was trained elsewhere."""

from __future__ import annotations

import streamlit as st

from privlab.reports.importing import import_bundle
from privlab.ui import urls
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape, refuse

_FILE, _DONE = "import-file", "imported-run"


def bring_in() -> None:
    """A place to drop a bundle; its run is chosen at once, marked as imported."""
    with (
        st.popover(
            "Import a run", help="A bundle that PrivLab wrote elsewhere. It is checked before anything is kept."
        ),
        st.form("import-form", clear_on_submit=True, border=False),
    ):
        st.file_uploader("Bundle (ZIP)", type="zip", key=_FILE, help="“Bundle to verify” on the page of a run.")
        st.form_submit_button("Check and import", on_click=_import)
        st.caption(
            "Hashes, plan, every point's ε and the claim are checked as “python -m privlab verify” does. The Ledger counts the run, "
            "since it spent privacy of the same records."
        )
    if done := st.session_state.pop(_DONE, None):
        st.toast(escape(done), icon=":material/check:", duration="long")


def _import() -> None:
    file = st.session_state.get(_FILE)
    if file is None:
        return refuse("Nothing was imported: choose a bundle first.")
    with attempted():
        run = import_bundle(store(), file.getvalue())
        urls.pin(run.id)
        st.session_state[_DONE] = f"Imported as run {run.id}, trained elsewhere as {run.origin}."
