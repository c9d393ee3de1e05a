"""One sweep, live: how far it is, what it found, what it costs, and what may be done to it."""

from __future__ import annotations

import streamlit as st

from privlab.metrics import METRICS
from privlab.runs.sweeprecord import Sweep
from privlab.sweeps.progress import Progress, progress
from privlab.sweeps.results import Standing, spec_of, standing
from privlab.ui import sitemap, urls
from privlab.ui.access import store
from privlab.ui.guard import escape, guarded
from privlab.ui.sweeps import words
from privlab.ui.sweeps.actions import header
from privlab.ui.sweeps.costcard import show_cost
from privlab.ui.sweeps.findings import findings
from privlab.ui.sweeps.trials import refused, table

#: Seconds between two looks while something can change; for many runs, of which each takes longer.
_EVERY, _EVERY_OF_MANY, _MANY = 2, 6, 200
_COST_EVERY = 15


def one_sweep(sweep_id: str) -> None:
    """Everything about one sweep. The page itself is drawn once; fragments follow what changes."""
    sweep = store().sweep(sweep_id)
    urls.name_sweep(sweep_id)
    over = _rests(sweep)
    every = _EVERY if spec_of(sweep).most_runs <= _MANY else _EVERY_OF_MANY

    @st.fragment(run_every=None if over else every)
    @guarded()
    def following() -> None:
        now = standing(store(), sweep_id)
        header(now)
        _progress(now)
        table(now, findings(now))
        refused(now)
        if _rests(now.sweep) != over:
            # From here on nothing moves by itself, or again does.
            st.rerun()

    @st.fragment(run_every=None if over else _COST_EVERY)
    @guarded()
    def costing() -> None:
        show_cost(standing(store(), sweep_id))

    following()
    costing()
    st.download_button(
        "Sweep, TOML",
        lambda: standing(store(), sweep_id).spec.to_toml(),
        file_name=f"privlab-sweep-{sweep_id}.toml",
        mime="application/toml",
        on_click="ignore",
        key="sweep-toml",
        help="The whole sweep as a file: run it again anywhere with “python -m privlab sweep run FILE.toml”.",
    )


def _rests(sweep: Sweep) -> bool:
    """Whether nothing of it changes by itself."""
    return sweep.state.is_over and sweep.settled


def _progress(now: Standing) -> None:
    known = progress(store(), now)
    told = METRICS[now.spec.metric]
    bar, result = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with bar:
        st.progress(min(1.0, known.share), text=_said(now, known))
    with result:
        found = words.best(now)
        if found:
            st.markdown(f"Best {told.label.lower()} **{escape(found[0])}** at {escape(found[1])}", help=words.SELECTION)
        else:
            st.markdown("Nothing has finished yet.")
    open_ids = [result.run.id for _, result in now.results if result.run and not result.is_over]
    ids = [*open_ids, *(r.run.id for _, r in now.results if r.run and r.is_over)][: urls.MOST_RUNS]
    if ids:
        sitemap.link_to_compare(ids, f"Compare the curves of {'its' if len(ids) == now.launched else len(ids)} runs")


def _said(now: Standing, known: Progress) -> str:
    text = words.counts(known)
    if now.sweep.state.value == "running":
        text += f" · {words.left(known)}"
        if known.open:
            text += f" · {known.open} at work or next"
    return text
