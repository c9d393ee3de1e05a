"""The Budget page: what settings spend and what that means, without a run. The address holds every field."""

from __future__ import annotations

import streamlit as st

from privlab.ui import budgetpage
from privlab.ui.budgetaccountants import accountants
from privlab.ui.budgetcase import Refused, at_first, problems_of, reckon
from privlab.ui.budgetexplorer import explorer
from privlab.ui.budgetform import FIELDS, draw_fields, keep_address, remember, show_answer, show_problems
from privlab.ui.guard import guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    fields, result = st.columns([2, 3], gap="medium")
    with fields, st.container(border=True, key="budget-fields"):
        asked = draw_fields()
    with result, st.container(border=True, height="stretch", key="budget-result"):
        with st.container(key="answer"):
            answer = st.empty()
        rest = st.container(key="budget-meaning")
    # A bound is on the page at once, then the exact answer, then everything else.
    how = {"adjacency": asked.adjacency, "accountant": asked.accountant}
    if (first := at_first(asked.unknown, asked.values, **how)) is not None:
        budgetpage.large(answer, asked, budgetpage.bound(asked, first))
    case, problems = None, problems_of({"group_size": asked.group_size})
    try:
        case = reckon(asked.unknown, asked.values, **how)
        remember(case)
    except Refused as error:
        problems |= error.problems
    budgetpage.large(answer, asked, FIELDS[asked.unknown].show(case.answer) if case else "–")
    with rest:
        budgetpage.facts(case)
    show_answer(asked, case)
    show_problems(asked, problems)
    keep_address()
    if case is None:
        return
    with rest, guarded():
        st.markdown("**What this means for a person whose record was used**")
        if "group_size" not in problems:
            budgetpage.group(case, int(asked.group_size))
        budgetpage.in_words(case)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Hold ε, slide the rest", anchor=False)
        explorer(case)
        st.subheader("What an attacker can tell", anchor=False)
        budgetpage.attacker(case)
    with right:
        st.subheader("When the budget ends", anchor=False)
        budgetpage.over_epochs(case)
        st.subheader("Shuffling instead of Poisson sampling", anchor=False)
        budgetpage.shuffling(case)
        st.subheader("Every accountant's answer", anchor=False)
        accountants(case)


page()
