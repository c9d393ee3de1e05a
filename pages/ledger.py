"""The Ledger page: for each data set, every run that touched it and what they cost together."""

from __future__ import annotations

import streamlit as st

from privlab.runs.ledger import ledgers
from privlab.ui import ledgerpage, sitemap
from privlab.ui.access import store
from privlab.ui.guard import guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    st.title("Ledger", anchor=False)
    st.markdown(
        "Privacy that was spent does not come back, and it adds up over all runs on the same records. "
        "This page adds it up, data set by data set."
    )
    found = ledgers(store())
    if not found:
        st.info("No run has released anything yet. Launch one in the Lab, and what it spends appears here.")
        return sitemap.link_to_lab()
    for each in found:
        ledgerpage.section(each)


page()
