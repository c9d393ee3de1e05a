"""All runs, or groups of repeats, as one table whose ticked rows are what the views show."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import streamlit as st

from privlab.analysis.seeds import groups
from privlab.ui.compare import state
from privlab.ui.compare.columns import COLUMNS, frame, grouped_frame, usual
from privlab.ui.compare.library import Entry
from privlab.ui.compare.view import View
from privlab.ui.urls import MOST_RUNS

_HEIGHT = 300
#: What the table on the page holds: which rows, and which of them are ticked.
_TICKS, _TURN = "compare-ticks", "compare-turn"

Rows = list[tuple[str, ...]]


def table(shown: Sequence[Entry], view: View, metric: str) -> None:
    """The rows; ticks go to the address. Chosen runs that no row shows stay chosen."""
    keys = [key for key in view.columns if key in COLUMNS] or usual(shown)
    ids: Rows
    if view.grouped:
        rows = groups(entry.facts for entry in shown)
        data, config = grouped_frame(rows, {entry.id: entry for entry in shown}, keys, metric)
        ids = [tuple(run.id for run in group.runs) for group in rows]
    else:
        data, config = frame(shown, keys)
        ids = [(entry.id,) for entry in shown]
    chosen = set(view.runs)
    ticked = [place for place, each in enumerate(ids) if chosen.intersection(each)]
    of = zlib.crc32(repr(ids).encode())
    # A table keeps its own ticks. Other rows, or ticks that a link or a button set, are another table.
    if st.session_state.get(_TICKS) != (of, ticked):
        st.session_state[_TICKS] = (of, ticked)
        st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1
    key = f"runs-{of:x}-{st.session_state[_TURN]}"
    st.dataframe(
        data,
        key=key,
        hide_index=True,
        height=min(38 + 35 * max(1, len(ids)), _HEIGHT),
        on_select=lambda: _choose(key, of, ids, ticked),
        selection_mode="multi-row",
        selection_default={"selection": {"rows": ticked}},
        column_config=config,
        placeholder="–",
        alt="All runs; tick rows to compare them",
    )


def _choose(key: str, of: int, ids: Rows, before: list[int]) -> None:
    """Callback: what is ticked now is chosen, the latest ticks last."""
    now = [row for row in st.session_state[key]["selection"]["rows"] if row < len(ids)]
    gone = {run for row in set(before) - set(now) for run in ids[row]}
    kept = [run for run in state.view().runs if run not in gone]
    new = [run for row in reversed(now) if row not in before for run in ids[row] if run not in kept]
    wanted = [*kept, *new]
    if len(wanted) > MOST_RUNS:
        st.toast(f"{len(wanted)} runs were chosen; a view shows {MOST_RUNS} at most, so the first ones gave way.")
    st.session_state[_TICKS] = (of, sorted(now))
    state.change(runs=tuple(wanted[-MOST_RUNS:]))
