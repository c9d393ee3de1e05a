"""Every sweep, newest first."""

from __future__ import annotations

import streamlit as st

from privlab.config import PRESETS
from privlab.metrics import METRICS
from privlab.runs.sweeprecord import Sweep, SweepState
from privlab.sweeps.progress import progress
from privlab.sweeps.results import standing
from privlab.ui import labels, sitemap, urls
from privlab.ui.access import store
from privlab.ui.guard import escape, guarded
from privlab.ui.sweeps import words

#: Seconds between two looks while a sweep runs.
_EVERY = 3
_SHOWN = 50


def all_sweeps() -> None:
    """The list, with a button for a new one."""
    title, button = st.columns([4, 1], vertical_alignment="bottom")
    title.title("Sweeps", anchor=False)
    title.markdown("A sweep trains many combinations of settings, each with several seeds, and shows which is best.")
    with button:
        st.button(
            "New sweep",
            key="new-sweep",
            type="primary",
            width="stretch",
            on_click=urls.show_sweep,
            args=(None, next(iter(PRESETS))),
        )
    found = store().sweeps()
    if not found:
        st.info(
            "No sweeps yet. **New sweep** begins one from a preset; a run's page offers one around its own settings. "
            "From a shell: `python -m privlab sweep run FILE.toml`."
        )
        return
    running = any(not sweep.state.is_over for sweep in found)

    @st.fragment(run_every=_EVERY if running else None)
    @guarded()
    def table() -> None:
        now = store().sweeps()
        with st.container(key="sweep-list", border=True):
            for sweep in now[:_SHOWN]:
                _row(sweep)
        if running and all(sweep.state.is_over for sweep in now):
            st.rerun()

    table()


def _row(sweep: Sweep) -> None:
    now = standing(store(), sweep.id)
    known = progress(store(), now)
    name, state, bar, result, created = st.columns([3, 2, 3, 4, 2], vertical_alignment="center")
    with name:
        sitemap.link_to_sweep(sweep.id, escape(sweep.name), help="Opens this sweep.")
    state.markdown(words.state(sweep))
    text = f"{known.done} of {known.total} runs" + (
        f" · {words.left(known)}" if sweep.state is SweepState.RUNNING else ""
    )
    bar.progress(min(1.0, known.share), text=text)
    found = words.best(now)
    told = METRICS[now.spec.metric].label.lower()
    result.markdown("nothing finished yet" if found is None else f"best {told} **{found[0]}** at {escape(found[1])}")
    created.markdown(labels.clock(sweep.created))
