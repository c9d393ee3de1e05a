"""The filter in plain terms, and what else decides which rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from privlab.analysis.facts import Facts
from privlab.analysis.filters import FilterError, Query, parse
from privlab.analysis.importance import varying
from privlab.analysis.settings import SETTINGS
from privlab.metrics import METRICS, UTILITY
from privlab.ui.compare import state
from privlab.ui.compare.columns import COLUMNS, usual
from privlab.ui.compare.library import Entry
from privlab.ui.compare.view import View
from privlab.ui.guard import escape

#: The last filter that was understood: a slip of the finger does not empty the table.
_LAST = "compare-last-filter"
_HELP = """
Words and conditions, all of which must hold:

| write | to see |
|---|---|
| `digits` | runs with that word in name, id, data set, model, tags or note |
| `eps<=3` | ε spent at most 3 |
| `acc>85%` | test accuracy above 85 % |
| `C:0.1,0.2` | clipping norm 0.1 or 0.2 |
| `lr:0.05..0.5` | learning rate in a range, both ends included |
| `status:finished` | by state: finished, running, queued, paused, stopped, failed |
| `tag:paper -name:test` | tagged *paper*, without *test* in the name |
| `seed:0..4 guarantee:yes` | seeds 0 to 4 that claim a finite ε |
| `void:no "two words"` | quotes keep a phrase together |

Every setting and metric has its standard name (`noise_multiplier`, `sample_rate` …), its symbol (`σ`, `C`, `B`) or the last part
of its path. `∞` is a number, `5min` is one too.
"""


def filtered(entries: Sequence[Entry], view: View) -> list[Entry]:
    """The field, and the entries that pass it; pinned ones first. What is not understood is said below the field."""
    # Not in columns: what a switch is called must be read on a narrow screen, too.
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="filter-row")
    row.text_input(
        "Filter",
        placeholder="digits eps<=3 acc>85% status:finished tag:paper -name:test",
        max_chars=500,
        **state.shows("q", "filter-text", view.q),
    )
    with row.popover("?", help="What a filter can say."):
        st.markdown(_HELP)
    row.toggle(
        "Only chosen",
        help="Lists the ticked runs alone; the front, the planner and the other views then judge them alone.",
        **state.shows("only", "filter-only", view.only),
    )
    row.toggle(
        "Archived too",
        help="Also lists runs that were put away.",
        **state.shows("archived", "filter-archived", view.archived),
    )
    query = _understood(view.q)
    chosen = set(view.runs)
    found = [
        entry
        for entry in entries
        if (view.archived or not entry.said.archived) and (not view.only or entry.id in chosen) and query(entry.facts)
    ]
    # Stable, so that each part stays newest first.
    return sorted(found, key=lambda entry: not entry.said.pinned)


def _understood(text: str) -> Query:
    try:
        query = parse(text)
    except FilterError as error:
        last: Query = st.session_state.get(_LAST, Query())
        shown = f"the filter before it: {last}" if last.terms else "all runs"
        st.error(escape(f"{error}. The table shows {shown}."))
        return last
    st.session_state[_LAST] = query
    return query


def metric_of(view: View, entries: Sequence[Entry]) -> str:
    """The metric that is looked at: the chosen one, or what most of the runs are judged by."""
    if view.metric:
        return view.metric
    language = sum(entry.run.config.data.task == "language" for entry in entries)
    return UTILITY["language" if 2 * language > len(entries) else "classify"].key


def choices(entries: Sequence[Entry], view: View, metric: str) -> None:
    """Metric, grouping, colours and columns."""
    one, two, three, four = st.columns([3, 2, 3, 2], vertical_alignment="bottom", gap="small")
    measured = {key for entry in entries for key in entry.run.metrics} | {metric}
    offered = [key for key, told in METRICS.items() if key in measured and told.better]
    one.selectbox(
        "Metric",
        offered if metric in offered else [metric, *offered],
        format_func=lambda key: METRICS[key].label,
        help="What the views judge runs by.",
        **state.shows("metric", "compare-metric", metric),
    )
    two.toggle(
        "Group by seed",
        help="Runs that differ in seed, name and computing only become one row, with mean and interval.",
        **state.shows("grouped", "compare-grouped", view.grouped),
    )
    differ = _varying(tuple(entry.facts for entry in entries))
    offered = ["", *dict.fromkeys([view.colour, *differ] if view.colour else differ)]
    three.selectbox(
        "Colour by",
        offered,
        format_func=lambda path: SETTINGS[path].label if path else "each run its own",
        help="Lines of runs with the same value of this setting have the same colour.",
        **state.shows("colour", "compare-colour", view.colour),
    )
    shown = [key for key in view.columns if key in COLUMNS] or usual(entries)
    with four.popover("Columns", width="stretch", help="Which columns the table has."):
        st.multiselect(
            "Columns of the table",
            list(COLUMNS),
            format_func=lambda key: COLUMNS[key].label,
            **state.shows("columns", "compare-columns", shown),
        )
        st.button("The usual ones", key="compare-columns-usual", on_click=state.change, kwargs={"columns": ()})


@lru_cache(maxsize=8)
def _varying(facts: tuple[Facts, ...]) -> list[str]:
    """Facts of unchanged runs are the same objects, so an unchanged table asks once."""
    return varying(facts) if facts else []
