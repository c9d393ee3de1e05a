"""The Lab's short list of runs: what happened lately, what is in the chart, what is waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from privlab.runs.limits import MOST, max_concurrent, set_max_concurrent
from privlab.runs.record import Run, Status
from privlab.runs.store import UnknownRun
from privlab.ui import labels, sitemap, urls
from privlab.ui.access import store
from privlab.ui.controls import controls, pin_button, undo_delete
from privlab.ui.guard import attempted

_SHOWN = 8
#: A deleted run is offered back in this list for so long, seconds; later, on its own page.
_UNDO = 600
_UNDOS = 3
_AT_ONCE = "runs-at-once"


def choose_runs(pinned: Sequence[str]) -> list[Run]:
    """The runs of the chart: the pinned ones that exist, and all that are queued or train. Newest first."""
    known = {run.id: run for run in store().list(status=(Status.QUEUED, Status.STARTING, Status.RUNNING))}
    for run_id in pinned:
        if run_id not in known:
            with suppress(UnknownRun):
                known[run_id] = store().get(run_id)
    here = (run for run in known.values() if run.deleted is None)
    return sorted(here, key=lambda run: run.created, reverse=True)[: urls.MOST_RUNS]


def recent_runs(pinned: Sequence[str]) -> None:
    """The newest runs, one row each, with their controls."""
    runs = store().list(limit=_SHOWN)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("Recent runs", anchor=False)
        _queue()
    for run in _just_deleted():
        undo_delete(run)
    if not runs:
        st.info("No runs yet. Choose a preset above and press **Launch**; every run stays in this list.")
        return
    called = labels.names(runs)
    with st.container(key="run-list", border=True):
        for run in runs:
            _row(run, called[run.id], run.id in pinned)
    sitemap.link_to_compare(pinned, "All runs, filters and downloads: Compare")


def _just_deleted() -> list[Run]:
    since = time.time() - _UNDO
    lately = [run for run in store().list(deleted=True) if (run.deleted or 0) > since]
    return sorted(lately, key=lambda run: run.deleted or 0, reverse=True)[:_UNDOS]


def _row(run: Run, name: str, pinned: bool) -> None:
    link, state, result, buttons = st.columns([3, 3, 3, 4], vertical_alignment="center")
    with link:
        sitemap.link_to_run(run.id, name, help="Opens the page of this run.")
    state.markdown(labels.state(run))
    result.markdown(_result(run))
    with buttons, st.container(horizontal=True, gap="small", horizontal_alignment="right"):
        pin_button(run, pinned)
        controls(run, compact=True)


def _result(run: Run) -> str:
    if run.status is Status.PAUSED:
        return f"step {run.step:,} of {run.steps:,}"
    if not run.status.is_over:
        return f"{run.steps:,} steps planned"
    what, value = labels.result(run)
    return f"{what} **{value}** at ε = **{labels.epsilon(run)}**"


def _set_at_once() -> None:
    with attempted():
        set_max_concurrent(store(), st.session_state[_AT_ONCE])


def _queue() -> None:
    """How many runs train at once; the others wait their turn."""
    with st.popover("Queue", help="How many runs train at the same time."):
        if _AT_ONCE not in st.session_state:
            st.session_state[_AT_ONCE] = max_concurrent(store())
        st.number_input(
            "Runs at once",
            min_value=1,
            max_value=MOST,
            step=1,
            key=_AT_ONCE,
            on_change=_set_at_once,
            help="More runs share the same cores, so each takes longer. The others wait in the queue.",
        )
