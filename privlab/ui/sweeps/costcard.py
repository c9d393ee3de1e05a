"""What a search costs in privacy, with the condition under which each number holds."""

from __future__ import annotations

import streamlit as st

from privlab.data.catalogue import DATASETS
from privlab.metrics import show_epsilon
from privlab.sweeps.cost import SearchCost, search_costs
from privlab.sweeps.results import Standing
from privlab.ui import sitemap
from privlab.ui.access import store
from privlab.ui.guard import escape
from privlab.ui.sweeps import words


def show_cost(now: Standing) -> None:
    """A card for each data set that the search has touched."""
    st.subheader("What the search costs in privacy", anchor=False)
    with st.spinner("Adding up the runs …"):
        costs = search_costs(store(), now)
    if not costs:
        st.caption("Nothing yet: no run has released anything.")
        return
    for cost in costs:
        _card(cost, now, several=len(costs) > 1)
    st.markdown(escape(words.SELECTION))
    sitemap.link_to_ledger()


def _card(cost: SearchCost, now: Standing, several: bool) -> None:
    found = cost.ledger
    with st.container(border=True):
        if several:
            title = DATASETS[found.dataset].title if found.dataset in DATASETS else found.dataset
            st.markdown(f"**{escape(title)}**")
        if found.public:
            st.info("The records are marked as public: ε is counted, and protects nothing that is not known already.")
        for column, (label, epsilon, help) in zip(st.columns(3), _numbers(cost), strict=True):
            column.metric(label, "–" if epsilon is None else show_epsilon(epsilon), help=help)
        st.markdown("\n\n".join(_lines(cost, now)))


def _numbers(cost: SearchCost) -> tuple[tuple[str, float | None, str], ...]:
    """What each number is called, ε (None: not known), and what it covers."""
    return (
        (
            f"All its {cost.ledger.runs} runs together",
            cost.ledger.epsilon,
            "Every step that its runs have done, composed. It covers whatever is published or chosen among them, if results "
            "decided neither which runs there were nor how long each trained.",
        ),
        (
            "Certain beforehand",
            cost.beforehand,
            "The most runs that the search may launch, each as costly as its costliest: the highest sampling rate, the least noise "
            "and the most steps of the space. Fixed before the first result, so it holds whatever the search decides by results.",
        ),
        (
            "Only the best published",
            cost.best,
            "Papernot and Steinke 2022, theorem 2: the number of trials was drawn at random before the first one, and nothing is "
            "ever shown but the best one: neither the others' results nor how many there were.",
        ),
    )


def _lines(cost: SearchCost, now: Standing) -> list[str]:
    found = cost.ledger
    lines = []
    if found.unprotected:
        count = len(found.unprotected)
        lines.append(f"{count} run{'s' * (count > 1)} without a guarantee: for everything together ε = ∞.")
    if found.delta is not None:
        neighbours = f"one {found.unit} " + ("replaced" if found.adjacency == "replace-one" else "added or removed")
        lines.append(f"At δ = {found.delta:g}, {neighbours}. Deleted runs count: deleting takes nothing back.")
    if cost.adaptive and found.private:
        known = (
            "no smaller number is proved"
            if cost.beforehand is None
            else f"what holds is the second number, ε = {cost.beforehand:.4g}"
        )
        lines.append(f"**The first number is not proved for this search**, because {escape(cost.adaptive)}; {known}.")
    if cost.best is None and found.private:
        lines.append(
            f"Publishing only the best costs no less than everything, as far as is known: {escape(cost.no_best)}."
        )
    elif cost.best is not None:
        lines.append(
            f"The third number holds for a reader who learns nothing of this page: not the other runs, nor that there were "
            f"{now.trials}. Whoever sees more is told everything, which is the first number."
        )
    return lines
