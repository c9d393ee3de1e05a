"""The main script of the app: the page frame and the list of pages."""

from __future__ import annotations

import streamlit as st

from privlab.ui import sitemap, theme

st.set_page_config(page_title="PrivLab", page_icon=theme.ICON, layout="wide", menu_items={"About": theme.ABOUT})
theme.dress()
st.navigation(
    [
        sitemap.lab(),
        sitemap.run(),
        sitemap.compare(),
        sitemap.sweeps(),
        sitemap.budget(),
        sitemap.ledger(),
        sitemap.encryption(),
        sitemap.classroom(),
    ],
    position="top",
).run()
