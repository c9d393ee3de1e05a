"""The claim card on the page of a run."""

from __future__ import annotations

import streamlit as st

from privlab.reports import Claim, claim
from privlab.runs.ledger import ledger
from privlab.ui import sitemap
from privlab.ui.access import store
from privlab.ui.guard import escape

_VERDICTS = {
    "valid": (st.success, "✓ Valid"),
    "conditional": (st.warning, "⚠ Conditional"),
    "void": (st.error, "✗ Void"),
}


def claim_of(run_id: str) -> Claim:
    """The claim of a run as of now. Raises UnknownRun."""
    run = store().get(run_id)
    return claim(run, store().events(run_id), ledger(store(), run.config.data.dataset))


def card(said: Claim) -> None:
    """Verdict, headline, reasons, and the full statement below."""
    st.subheader("Privacy claim", anchor=False)
    with st.container(border=True, key="claim-card"):
        show, word = _VERDICTS[said.verdict]
        show(f"**{word}.** {escape(said.headline)}")
        if said.reasons:
            st.markdown("\n".join(f"- {escape(reason)}" for reason in said.reasons))
        with (
            st.expander("The full statement", expanded=said.verdict != "void"),
            st.container(gap="xsmall", key="claim-statement"),
        ):
            for field in said.fields:
                st.markdown(f"**{escape(field.label)}** · {escape(field.value)}", help=field.help or None)
        sitemap.link_to_ledger()
