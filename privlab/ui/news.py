"""Noticing, without a click, that runs began or ended elsewhere (another tab, the command line)."""

from __future__ import annotations

import streamlit as st

from privlab.runs.record import Status
from privlab.ui.access import store
from privlab.ui.guard import guarded

#: Seconds between two looks.
_EVERY = 5
_OPEN = (Status.QUEUED, Status.STARTING, Status.RUNNING)


@st.fragment(run_every=_EVERY)
@guarded()
def watch_for_news(seen: frozenset[str]) -> None:
    """Rerun the page once when other runs than ``seen`` are queued or training."""
    if frozenset(run.id for run in store().list(status=_OPEN)) != seen:
        st.rerun()
