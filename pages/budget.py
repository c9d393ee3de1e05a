"""The Budget page: what settings spend and what that means, without a run. The address holds every field."""

from __future__ import annotations

import streamlit as st

from privlab.ui.budget import parts
from privlab.ui.budget.accountants import accountants
from privlab.ui.budget.case import Case, Refused, at_first, problems_of, reckon
from privlab.ui.budget.explorer import explorer
from privlab.ui.budget.form import FIELDS, asked, draw_fields, keep_address, remember, show_answer, show_problems
from privlab.ui.guard import guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    said = asked()
    left, right = st.columns([2, 3], gap="medium")
    fields = left.container(border=True, key="budget-fields")
    with right, st.container(border=True, height="stretch", key="budget-result"):
        with st.container(key="answer"):
            answer = st.empty()
        meaning = st.container(key="budget-meaning")
    # A bound is on the page at once, then the exact answer, then everything else.
    how = {"adjacency": said.adjacency, "accountant": said.accountant}
    if (first := at_first(said.unknown, said.values, **how)) is not None:
        parts.large(answer, said.unknown, parts.bound(said.unknown, first))
    case, problems = None, problems_of({"group_size": said.group_size})
    try:
        case = reckon(said.unknown, said.values, **how)
        remember(case)
    except Refused as error:
        problems |= error.problems
    parts.large(answer, said.unknown, FIELDS[said.unknown].show(case.answer) if case else "–")
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
