"""“I need 85 %”: the smallest ε for it, how sure that is, and the runs that would make it surer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd
import streamlit as st

from privlab.analysis.answer import Answer
from privlab.analysis.facts import Facts
from privlab.analysis.planner import plan_for
from privlab.data.catalogue import DATASETS
from privlab.metrics import METRICS
from privlab.ui import sitemap
from privlab.ui.compare import state
from privlab.ui.compare.launching import launch_button, show_launched
from privlab.ui.compare.library import Entry
from privlab.ui.compare.view import View
from privlab.ui.guard import escape

_HEADLINES = {
    "predicted": st.success,
    "at most": st.success,
    "out of reach": st.warning,
    "cannot say": st.warning,
}


def planner(shown: Sequence[Entry], view: View, metric: str) -> None:
    """A goal for the runs that pass the filter, and the answer to it."""
    told = METRICS[metric]
    if not told.better:
        st.info(f"{told.label} has no better direction; choose another metric.")
        return
    measured = [entry for entry in shown if math.isfinite(entry.facts.metric(metric))]
    if not measured:
        st.info(f"No run here has a {told.label.lower()} yet. Launch one, or clear the filter.")
        return
    show_launched()
    dataset = _dataset(measured, view)
    scale = 100 if told.unit == "share" else 1
    st.number_input(
        f"I need a {told.label.lower()} of {'at least' if told.better == 'up' else 'at most'}"
        + (" (%)" if scale == 100 else ""),
        min_value=0.01 if scale == 100 else 1e-9,
        max_value=99.99 if scale == 100 else None,
        step=0.5 if scale == 100 else 0.1,
        format="%.4g",
        placeholder="85",
        width=360,
        help="The mean over seeds that is wanted.",
        **state.shows("goal", f"planner-goal-{scale}", state.number(view.goal), scale),
    )
    if math.isnan(view.goal):
        st.caption("Say what you need; the answer comes from the runs that pass the filter, and says how sure it is.")
        return
    if scale == 100 and view.goal >= 1:
        st.error(f"goal={view.goal:g} in the address is a share: it must be below 1, as 0.85 for 85 %.")
        return
    with st.spinner("Fitting what these runs say …"):
        answer = _answer(tuple(entry.facts for entry in measured), view.goal, metric, dataset)
    _say(answer)
    _next(answer)


def _dataset(measured: Sequence[Entry], view: View) -> str:
    found = sorted(
        {entry.facts.dataset for entry in measured}, key=lambda key: -sum(e.facts.dataset == key for e in measured)
    )
    wanted = view.front.partition("~")[0]
    key = wanted if wanted in found else found[0]
    if len(found) > 1:
        st.selectbox(
            "Data set",
            found,
            format_func=lambda each: DATASETS[each].title if each in DATASETS else each,
            **state.shows("front", "planner-dataset", key),
        )
    return key


@lru_cache(maxsize=16)
def _answer(facts: tuple[Facts, ...], goal: float, metric: str, dataset: str) -> Answer:
    """The planner's answer. Facts of unchanged runs are the same objects, so an unchanged page asks once."""
    return plan_for(facts, goal, metric, dataset=dataset)


def _say(answer: Answer) -> None:
    headline, *rest = answer.why
    _HEADLINES[answer.word](f"**{escape(headline)}**")
    if rest:
        st.markdown("\n".join(f"- {escape(each)}" for each in rest))
    if answer.known:
        sitemap.link_to_run(answer.known.group.first.id, f"Open {answer.known.label}")


def _next(answer: Answer) -> None:
    """What is missing, and one button for it."""
    if not answer.missing:
        return
    st.subheader("What would make it surer", anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                "Run": [each.config.name or each.config.data.dataset for each in answer.missing],
                "ε": [each.epsilon for each in answer.missing],
                "Takes off the uncertainty": [None if math.isnan(each.gain) else each.gain for each in answer.missing],
                "Why": [each.why for each in answer.missing],
            }
        ),
        hide_index=True,
        placeholder="–",
        key="planner-missing",
        column_config={"Takes off the uncertainty": st.column_config.NumberColumn(format="percent")},
    )
    configs = [each.config for each in answer.missing]
    words = "Run what is missing" if len(configs) == 1 else f"Run these {len(configs)}"
    launch_button(
        words,
        configs,
        f"{answer.metric} {answer.value} {[each.config.name for each in answer.missing]}",
        "planner-launch",
    )
    st.caption("Each spends its own ε of the data set's records: see the Ledger.")
