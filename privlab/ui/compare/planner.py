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
from privlab.runs.record import Status
from privlab.ui import labels, sitemap
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.compare.launching import launch_button, show_launched
from privlab.ui.compare.library import Entry, library
from privlab.ui.compare.view import View
from privlab.ui.guard import escape, guarded

#: How often the runs that are waited for are looked at, seconds, and how many are shown by name.
_EVERY, _LISTED = 2, 6
_HEADLINES = {
    "predicted": st.success,
    "at most": st.success,
    "out of reach": st.warning,
    "cannot say": st.warning,
}


def planner(shown: Sequence[Entry], everything: Sequence[Entry], view: View, metric: str) -> None:
    """A goal for the runs that pass the filter, and the answer to it: from those that ended. What is still at work is told."""
    told = METRICS[metric]
    if not told.better:
        st.info(f"{told.label} has no better direction; choose another metric.")
        return
    measured = [entry for entry in shown if entry.run.status.is_over and math.isfinite(entry.facts.metric(metric))]
    show_launched()
    if not measured:
        st.info(f"No run here has ended with a {told.label.lower()} yet. Launch one, or clear the filter.")
        _at_work([entry for entry in everything if not entry.run.status.is_over], shown)
        return
    dataset = _dataset(measured, view)
    waiting = [entry for entry in everything if not entry.run.status.is_over and entry.facts.dataset == dataset]
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
    _at_work(waiting, shown)
    if math.isnan(view.goal):
        st.caption("Say what you need; the answer comes from the runs that pass the filter, and says how sure it is.")
        return
    if scale == 100 and view.goal >= 1:
        st.error(f"goal={view.goal:g} in the address is a share: it must be below 1, as 0.85 for 85 %.")
        return
    with st.spinner("Fitting what these runs say …"):
        answer = _answer(tuple(entry.facts for entry in measured), view.goal, metric, dataset)
    _say(answer)
    _next(answer, waiting)


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


def _next(answer: Answer, waiting: Sequence[Entry]) -> None:
    """What is missing and is not at work already, and one button for it."""
    at_work = {entry.run.config.to_json() for entry in waiting}
    missing = [each for each in answer.missing if each.config.to_json() not in at_work]
    if not missing:
        if answer.missing:
            st.caption("What would make it surer is at work already.")
        return
    st.subheader("What would make it surer", anchor=False)
    columns = {
        "Run": [each.config.name or each.config.data.dataset for each in missing],
        "ε": [each.epsilon for each in missing],
        "Takes off the uncertainty": [each.gain for each in missing],
        "Why": [each.why for each in missing],
    }
    if all(math.isnan(each.gain) for each in missing):
        del columns["Takes off the uncertainty"]
    st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        placeholder="–",
        key="planner-missing",
        column_config={"Takes off the uncertainty": st.column_config.NumberColumn(format="percent")},
    )
    configs = [each.config for each in missing]
    words = "Run what is missing" if len(configs) == 1 else f"Run these {len(configs)}"
    launch_button(
        words,
        configs,
        f"{answer.metric} {answer.value} {[each.config.name for each in missing]}",
        "planner-launch",
    )
    st.caption("Each spends its own ε of the data set's records: see the Ledger.")


def _at_work(waiting: Sequence[Entry], shown: Sequence[Entry]) -> None:
    """How far the runs are that the answer does not know of yet. The page is drawn anew, with the answer, when one ends."""
    if not waiting:
        return
    many = "1 run is" if len(waiting) == 1 else f"{len(waiting)} runs are"
    with st.container(border=True, key="planner-waiting"):
        st.markdown(f"**{many} not done yet.** The answer takes in each one when it has ended.")
        trains = any(entry.run.status is not Status.PAUSED for entry in waiting)
        st.fragment(_progress, run_every=_EVERY if trains else None)([entry.id for entry in waiting])
        passing = {entry.id for entry in shown}
        if left := sum(entry.id not in passing for entry in waiting):
            st.caption(
                f"{left} of them {'does' if left == 1 else 'do'} not pass the filter now; the answer leaves out what the filter "
                "leaves out."
            )


def _progress(ids: Sequence[str]) -> None:
    with guarded():
        found = library(store()).entries()
        runs = [found[run_id].run for run_id in ids if run_id in found]
        for run in runs[:_LISTED]:
            share = run.step / run.steps if run.steps else 0.0
            text = f"{escape(run.name or run.id)}: {labels.state(run)}, step {run.step:,} of {run.steps:,}"
            st.progress(min(1.0, share), text=text)
        if len(runs) > _LISTED:
            st.caption(f"And {len(runs) - _LISTED} more.")
