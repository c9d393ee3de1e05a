"""Does A beat B at equal ε? Words first, then the numbers that they rest on, then what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import pandas as pd
import streamlit as st

from privlab.analysis.compare import compare, compare_all
from privlab.analysis.repeats import missing_repeats
from privlab.analysis.seeds import Group, groups
from privlab.analysis.verdict import Verdict
from privlab.charts.bands import bands_figure
from privlab.metrics import METRICS
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.compare.curves import dressed
from privlab.ui.compare.launching import launch_button, show_launched
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import View
from privlab.ui.guard import escape

#: With so many chosen groups, all pairs are asked at once as well.
_PAIRS = 6
#: Runs that one press launches at most.
_MOST = 40


def verdict(shown: Sequence[Entry], chosen: Sequence[Entry], view: View, metric: str) -> None:
    """Two groups of repeats against each other, and every pair of those that are chosen."""
    sides = groups(entry.facts for entry in (*chosen, *shown)) if chosen else groups(entry.facts for entry in shown)
    sides = _once(sides)
    if len(sides) < 2:
        st.info("A verdict needs two different settings, each with several seeds. Launch another, or clear the filter.")
        return
    if not METRICS[metric].better:
        st.info(f"{METRICS[metric].label} has no better direction; choose another metric.")
        return
    show_launched()
    a, b, epsilon = _asked(sides, view)
    known = {entry.id: entry for entry in (*chosen, *shown)}
    a, b = (_with_curves(group, known) for group in (a, b))
    found = compare(a, b, metric, epsilon=epsilon)
    _say(found)
    _missing(a, b, found, known)
    marks = labels.published([known[run.id].run for run in (*a.runs, *b.runs)])
    figure = bands_figure(dressed([a, b]), metric, marks, at=found.epsilon)
    st.plotly_chart(figure, key="verdict-bands", config={"displaylogo": False})
    _all_pairs(groups(entry.facts for entry in chosen), known, metric, epsilon)


def _once(sides: Sequence[Group]) -> list[Group]:
    """Groups whose runs were given twice, once."""
    return [Group(tuple({run.id: run for run in group.runs}.values())) for group in sides]


def _asked(sides: Sequence[Group], view: View) -> tuple[Group, Group, float | None]:
    """A and B, by the ids of their first runs (a run that meanwhile joined a group stands for it), and ε: None is the largest
    that both reach."""
    by_run = {run.id: group for group in sides for run in group.runs}
    by_first = {group.first.id: group for group in sides}
    names = {each.group.first.id: each.name for each in dressed(sides)}
    a = by_run.get(view.a, sides[0])
    b = by_run.get(view.b)
    if b is None or b is a:
        same = [group for group in sides if group is not a and group.first.dataset == a.first.dataset]
        b = next(iter(same), next(group for group in sides if group is not a))
    one, two, three = st.columns([3, 3, 2], gap="small", vertical_alignment="bottom")
    one.selectbox("A", list(by_first), format_func=names.get, **state.shows("a", "verdict-a", a.first.id))
    rest = [first for first in by_first if first != a.first.id]
    two.selectbox("B", rest, format_func=names.get, **state.shows("b", "verdict-b", b.first.id))
    three.number_input(
        "At ε",
        min_value=1e-6,
        placeholder="largest shared",
        format="%.4g",
        step=0.1,
        help="Each run is read where it had spent this much. Empty: the largest ε that every run of both sides reaches.",
        **state.shows("at", "verdict-at", state.number(view.at)),
    )
    return a, b, None if math.isnan(view.at) else view.at


def _with_curves(group: Group, known: dict[str, Entry]) -> Group:
    return Group(tuple(library(store()).with_curves(known[run.id] for run in group.runs)))


def _say(found: Verdict) -> None:
    headline, *rest = found.why
    show = {"a is better": st.success, "b is better": st.success, "alike": st.info}.get(found.word, st.warning)
    show(f"**{escape(headline)}**")
    if rest:
        st.markdown("\n".join(f"- {escape(each)}" for each in rest))


def _missing(a: Group, b: Group, found: Verdict, known: dict[str, Entry]) -> None:
    """The repeats that would decide it, by one button; while some train, that they are awaited."""
    waiting = [run for run in (*a.runs, *b.runs) if not known[run.id].run.status.is_over]
    if waiting:
        st.info(f"{len(waiting)} of their runs have not ended. Judge when all have.")
        return
    if found.word == "undecided":
        more = found.more_seeds
    else:
        # Nothing is known of the spread of a side with one run: three on each side are the least that says something.
        few = found.word == "cannot say" and a.first.dataset == b.first.dataset and a.promise == b.promise
        more = 3 - min(a.n, b.n) if few and min(a.n, b.n) < 2 else None
    if not more:
        return
    configs = missing_repeats(a, b, more)
    if len(configs) > _MOST:
        st.caption(f"{len(configs)} runs would be missing, more than one press launches ({_MOST}). A sweep can.")
        return
    if configs:
        seconds = sum(known[group.first.id].run.seconds * _count(configs, group) for group in (a, b))
        words = "Run the missing seed" if len(configs) == 1 else f"Run the {len(configs)} missing seeds"
        launch_button(words, configs, f"{sorted(run.id for run in (*a.runs, *b.runs))}", "verdict-launch")
        st.caption(
            f"About {labels.duration(seconds)} of training, by the runs so far. Each spends its own ε of the data set's records: see "
            "the Ledger."
        )


def _count(configs: Sequence, group: Group) -> int:
    plain = group.first.config.replace(training__seed=0)
    return sum(config.replace(training__seed=0) == plain for config in configs)


def _all_pairs(sides: Sequence[Group], known: dict[str, Entry], metric: str, epsilon: float | None) -> None:
    """Every pair of the chosen groups at once, corrected for having asked so often."""
    if not 2 < len(sides) <= _PAIRS:
        return
    sides = [_with_curves(group, known) for group in sides]
    names = {each.group.first.id: each.name for each in dressed(sides)}
    pairs = list(combinations(sides, 2))
    found = compare_all(pairs, metric, epsilon=epsilon)
    told = METRICS[metric]
    scale, unit = (100, " (points)") if told.unit == "share" else (1, "")
    st.subheader("All pairs of the chosen", anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                "A": [names[a.first.id] for a, _ in pairs],
                "B": [names[b.first.id] for _, b in pairs],
                "Verdict": [each.word for each in found],
                "ε": [each.epsilon for each in found],
                f"A minus B{unit}": [scale * each.effect for each in found],
                "p, corrected": [each.p_corrected for each in found],
                "More seeds each": [each.more_seeds for each in found],
            }
        ),
        hide_index=True,
        placeholder="–",
        key="verdict-pairs",
        column_config={"p, corrected": st.column_config.NumberColumn(format="%.3g", help="After Holm's correction for all pairs.")},
    )  # fmt: skip
