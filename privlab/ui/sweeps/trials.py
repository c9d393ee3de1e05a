"""Every combination of a sweep: a table of those that train or trained, and what was refused."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from privlab.analysis.settings import SETTINGS
from privlab.metrics import METRICS
from privlab.sweeps.results import Row, Standing
from privlab.sweeps.space import in_words, shown
from privlab.ui import urls
from privlab.ui.guard import escape
from privlab.ui.sweeps.findings import Picked


def table(now: Standing, picked: Picked | None) -> None:
    """A line a combination, its seeds together: of all, or of what is picked in a chart."""
    rows = picked.rows if picked else now.accepted
    title, back = st.columns([4, 1], vertical_alignment="bottom")
    title.subheader(f"Combinations with {escape(picked.words)}" if picked else "Combinations", anchor=False)
    if picked:
        with back, st.container(horizontal=True, horizontal_alignment="right"):
            label = f"Show all {len(now.accepted)}"
            st.button(label, key="sweep-unpick", type="tertiary", on_click=urls.pick, args=(None,))
    if not rows:
        st.caption("None of them was proposed yet." if picked else "None was proposed yet.")
        return
    told = METRICS[now.spec.metric]
    best = now.best()
    frame = pd.DataFrame(
        {
            "No.": [row.trial.number + 1 for row in rows],
            **{
                SETTINGS[path].label: [shown(path, row.trial.values[path]) for row in rows]
                for path in now.spec.space.paths
            },
            "State": [_state(now, row) for row in rows],
            told.label: [row.mean(told.key) for row in rows],
            "± over seeds": [row.spread(told.key) for row in rows],
            "Seeds": [f"{len(row.values(told.key))} of {now.spec.seeds}" for row in rows],
            "ε": [_epsilon(row) for row in rows],
            "Best": ["★" if row is best else "" for row in rows],
            "Run": [f"run?run={row.results[0].run.id}" if row.results and row.results[0].run else None for row in rows],
            "Compare": [_compare(row) for row in rows],
            "Note": [_note(row) for row in rows],
        }
    )
    number = (
        st.column_config.NumberColumn(format="percent")
        if told.unit == "share"
        else st.column_config.NumberColumn(format="%.4g")
    )
    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(rows), 420),
        key="sweep-trials",
        column_config={
            "No.": st.column_config.NumberColumn(width=48),
            "Best": st.column_config.TextColumn(width=48),
            told.label: number,
            "± over seeds": number,
            "ε": st.column_config.TextColumn(
                alignment="right", help="Of one run; all runs together cost what stands below."
            ),
            "Run": st.column_config.LinkColumn(display_text="open", width="small", help="The run of the first seed."),
            "Compare": st.column_config.LinkColumn(
                display_text="open", width="small", help="All seeds over each other."
            ),
        },
        placeholder="–",
        alt="Combinations of the sweep with their results",
    )


def _state(now: Standing, row: Row) -> str:
    if row.state == "training" and all(result.is_over for result in row.results):
        return "next seed to come"
    if row.state == "training" and now.sweep.state.value != "running":
        return "halted"
    return row.state


def _epsilon(row: Row) -> str:
    if row.results and not row.is_private:
        return "∞"
    return "–" if row.epsilon is None else f"{row.epsilon:.3f}"


def _compare(row: Row) -> str | None:
    ids = [result.run.id for result in row.results if result.run and result.run.deleted is None]
    return f"compare?runs={','.join(ids)}" if ids else None


def _note(row: Row) -> str:
    notes = [result.kept.pruned for result in row.results if result.is_pruned]
    notes += [
        result.run.error for result in row.results if result.run and result.status == "failed" and result.run.error
    ]
    return " ".join(notes)


def refused(now: Standing) -> None:
    """Why some were not launched."""
    if not now.refused:
        return
    count = len(now.refused)
    with st.expander(f"{count} combination{'s' * (count > 1)} refused: not launched"):
        for row in now.refused[:100]:
            st.markdown(f"**{escape(in_words(row.trial.values))}**: {escape(row.trial.refused)}")
        if count > 100:
            st.caption(f"And {count - 100} more.")
