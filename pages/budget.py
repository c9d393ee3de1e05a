"""The Budget page: what settings spend and what that means, without a run. The address holds every field."""

from __future__ import annotations

import streamlit as st

from privlab.ui.budget import parts
from privlab.ui.budget.accountants import accountants
from privlab.ui.budget.answer import live_answer
from privlab.ui.budget.case import Case, Refused, at_first, problems_of, reckon
from privlab.ui.budget.explorer import explorer
from privlab.ui.budget.form import asked, draw_fields, keep_address, remember, show_answer, show_problems
from privlab.ui.guard import guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    said = asked()
    left, right = st.columns([2, 3], gap="medium")
    fields = left.container(border=True, key="budget-fields")
    with right, st.container(border=True, height="stretch", key="budget-result"):
        place = st.container(key="answer")
        meaning = st.container(key="budget-meaning")
    how = {"adjacency": said.adjacency, "accountant": said.accountant}
    # The answer asks for itself, while the rest of the page is reckoned.
    with place:
        live_answer("budget-answer", said.unknown, said.values, **how, size="2.6rem")
    # What the browser asks for at this moment comes first: this waits for it and costs nothing of its own.
    at_first(said.unknown, said.values, **how)
    case, problems = None, problems_of({"group_size": said.group_size})
    try:
        case = reckon(said.unknown, said.values, **how)
        remember(case)
    except Refused as error:
        problems |= error.problems
    with fields:
        below = draw_fields(said.unknown)
    show_answer(below, said.unknown, case)
    show_problems(below, problems)
    keep_address()
    with meaning, guarded():
        parts.facts(case)
        if case is not None:
            parts.in_words(case, None if "group_size" in problems else int(said.group_size))
    if case is not None:
        every_side(case)


def every_side(case: Case) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Hold ε, slide the rest", anchor=False)
        explorer(case)
        st.subheader("What an attacker can tell", anchor=False)
        parts.attacker(case)
    with right:
        st.subheader("When the budget ends", anchor=False)
        parts.over_epochs(case)
        st.subheader("Shuffling instead of Poisson sampling", anchor=False)
        parts.shuffling(case)
        st.subheader("Every accountant's answer", anchor=False)
        accountants(case)


page()
