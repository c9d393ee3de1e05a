"""The Compare page: filter, table, what to do with many runs, and the views of what is chosen."""

from __future__ import annotations

import streamlit as st

from privlab.runs.record import Run, Status
from privlab.ui import sitemap
from privlab.ui.access import store
from privlab.ui.compare import (
    bulk,
    curves,
    differences,
    downloads,
    pareto,
    planner,
    search,
    settings,
    state,
    table,
    verdict,
)
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import TABS
from privlab.ui.guard import escape, guarded, show_notice
from privlab.ui.importing import bring_in
from privlab.ui.writingcard import write_on

#: How often the page looks whether a run began or ended, seconds.
_EVERY = 3
#: Views over all runs that pass the filter, chosen or not.
_OF_ALL = {"pareto", "settings", "verdict", "planner"}


def compare() -> None:
    """Draw the page."""
    show_notice()
    view = state.view()
    entries = library(store()).entries()
    for problem in state.problems():
        st.warning(escape(problem))
    if gone := [run_id for run_id in view.runs if run_id not in entries]:
        rest = " The other runs of the address are shown." if len(gone) < len(view.runs) else ""
        st.warning(escape(f"Not here, perhaps deleted: {', '.join(gone)}.{rest}"))
    if not entries:
        bulk.undo()
        st.info(
            "There are no runs to compare yet. Launch some in the Lab: four privacy levels at once make a good start."
        )
        bring_in()
        return sitemap.link_to_lab()
    shown = search.filtered(list(entries.values()), view)
    metric = search.metric_of(view, shown)
    search.choices(shown, view, metric)
    chosen = [entries[run_id] for run_id in view.runs if run_id in entries]
    if shown:
        table.table(shown, view, metric)
        st.caption(_count(len(shown), len(entries), len(chosen)))
    else:
        st.info(
            "None of the chosen runs passes this filter. Clear it, or turn “Only chosen” off."
            if view.only
            else "No run passes this filter. Clear it, or a part of it."
        )
    bulk.bulk(chosen, shown)
    st.segmented_control(
        "View",
        list(TABS),
        format_func=TABS.get,
        required=True,
        label_visibility="collapsed",
        width="stretch",
        **state.shows("tab", "compare-tab", view.tab),
    )
    if view.tab in _OF_ALL:
        if shown:
            _of_all(view.tab, shown, chosen, list(entries.values()), view, metric)
    elif not chosen and shown:
        st.info("Tick runs in the table to lay their curves over each other.")
    elif chosen and view.tab == "curves":
        if len(chosen) == 1:
            st.caption("One run is chosen; tick another to lay its curve over this one.")
        curves.curves(chosen, view, metric)
    elif chosen:
        differences.differences(chosen, view, metric)
    if chosen:
        runs = [entry.run for entry in chosen]
        downloads.downloads(runs)
        write_on(runs, "write-on")
    # At the end: a place that comes and goes above a field takes from a person what is typed and not yet entered.
    _follow(entries)


def _follow(entries: dict[str, Entry]) -> None:
    """Draw the page anew when a run begins, ends, comes or goes; while nothing waits or trains nobody looks."""
    if all(_is_quiet(entry.run) for entry in entries.values()):
        return
    drawn = _states(entries)

    def look() -> None:
        with guarded():
            if _states(library(store()).entries()) != drawn:
                st.rerun()

    st.fragment(look, run_every=_EVERY)()


def _is_quiet(run: Run) -> bool:
    return run.status.is_over or run.status is Status.PAUSED


def _states(entries: dict[str, Entry]) -> dict[str, Status]:
    return {run_id: entry.run.status for run_id, entry in entries.items()}


def _of_all(tab: str, shown, chosen, everything, view, metric: str) -> None:
    if tab == "pareto":
        pareto.pareto(shown, chosen, view, metric)
    elif tab == "settings":
        settings.settings(shown, view, metric)
    elif tab == "verdict":
        verdict.verdict(shown, chosen, view, metric)
    else:
        planner.planner(shown, everything, view, metric)


def _count(shown: int, all_runs: int, chosen: int) -> str:
    passing = f"{shown:,} of {all_runs:,} runs" if shown < all_runs else f"{all_runs:,} runs"
    return f"{passing} · {chosen:,} chosen" if chosen else f"{passing} · tick rows to choose them"
