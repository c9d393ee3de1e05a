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
    found = ledgers(store())
    if not found:
        st.info("No run has released anything yet. What each one spends is added up here, data set by data set.")
        return sitemap.link_to_lab()
    for each in found:
        ledgerpage.section(each)


page()
