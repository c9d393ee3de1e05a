"""All accountants beside each other. The slow ones are asked in the background and their results kept."""

from __future__ import annotations

import math
import secrets
from concurrent.futures import Future
from functools import lru_cache

import streamlit as st

from privlab.charts.accountants import Bar, Standing, bars_figure
from privlab.privacy.accounting import epsilon_of
from privlab.privacy.confirm import library_epsilon
from privlab.privacy.gaussian import clt_epsilon
from privlab.privacy.prv import prv_epsilon
from privlab.ui.budget.case import Case
from privlab.ui.budget.jobs import Jobs, Superseded, outcome
from privlab.ui.budget.parts import plan_of
from privlab.ui.guard import escape, guarded

#: Seconds between two looks whether a slow accountant is done.
_EVERY = 0.5
#: Seconds that Opacus's PRV accountant may take.
PRV_SECONDS = 30

_LIBRARY, _PRV = Jobs("accountant"), Jobs("prv", rest=0)

_SLOW = ("PLD, dp-accounting", "PRV, Opacus")
_HELP = {
    "PLD": "PrivLab's own accountant by privacy loss distributions, tight and never below the truth. This is the value that "
    "PrivLab claims.",
    "PLD, dp-accounting": "The same arithmetic by Google's library, as a second opinion: it must agree.",
    "PRV, Opacus": "Privacy random variables (Gopi, Lee, Wutschitz 2021) as Opacus computes them: an upper bound, some 0.01 "
    f"above PLD. It can take minutes or end in ∞, so it is asked on demand and stopped after {PRV_SECONDS} s.",
    "RDP": "Rényi accounting (Mironov 2017): an upper bound by other means, usually 9–20 % above PLD. If it were below, "
    "something would be wrong.",
    "CLT": "The central limit approximation (Gaussian differential privacy; Bu et al. 2020). It is quoted in papers and "
    "UNDERSTATES ε: no claim may rest on it. Shown so that you recognise the number.",
}


def accountants(case: Case) -> None:
    """Draw the comparison; it looks again by itself while a slow accountant works."""
    waiting = any(future is not None and not future.done() for future in _asked(case))
    st.fragment(_draw, run_every=_EVERY if waiting else None)(case, waiting)


def _asked(case: Case) -> tuple[Future | None, Future | None]:
    """The futures of dp-accounting and of Opacus for ``case``; None where nobody asked."""
    key = (case.phases, case.delta, case.adjacency)
    if case.adjacency != "add-or-remove-one":
        return None, None
    library = _LIBRARY.ask(_session(), key, lambda: library_epsilon(plan_of(case)))
    return library, _PRV.known(key)


def _session() -> str:
    return st.session_state.setdefault("budget-session", secrets.token_hex(8))


@guarded()
def _draw(case: Case, looks_again: bool) -> None:
    library, prv = _asked(case)
    waiting = any(future is not None and not future.done() for future in (library, prv))
    bars = [Bar("PLD", _exact(case, "pld"), Standing.CLAIM)]
    notes = []
    for label, future in zip(_SLOW, (library, prv), strict=True):
        if future is None or not future.done():
            continue
        if isinstance(future.exception(), Superseded):
            continue
        value, why = outcome(future)
        if why:
            notes.append(f"{label}: {why}")
        else:
            bars.append(Bar(label, value, Standing.CHECK))
    try:
        bars.append(Bar("RDP", _exact(case, "rdp"), Standing.CHECK))
    except ValueError as error:
        notes.append(f"RDP: {error}")
    bars.append(Bar("CLT", clt_epsilon(case.phases, case.delta), Standing.TRAP))
    st.plotly_chart(
        bars_figure("ε of the same training", bars),
        key="accountants",
        config={"displayModeBar": False},
        alt="; ".join(f"{bar.label}: ε = {bar.epsilon:.4g}, {bar.standing}" for bar in bars),
    )
    with st.container(key="accountant-words"):
        known = {bar.label: bar for bar in bars}
        for label, about in _HELP.items():
            st.markdown(f"{label} · {_say(known.get(label), label, library, prv)}", help=about)
        for note in notes:
            st.caption(escape(note))
    if case.adjacency == "add-or-remove-one":
        st.button(
            "Ask Opacus's PRV",
            key="ask-prv",
            disabled=prv is not None,
            on_click=_ask_prv,
            args=(case,),
            help=f"Runs in a process of its own, for at most {PRV_SECONDS} s.",
        )
    # A fragment keeps the rhythm that the page's run gave it: whenever that is wrong, the page runs anew.
    if waiting != looks_again:
        st.rerun()


def _ask_prv(case: Case) -> None:
    key = (case.phases, case.delta, case.adjacency)
    _PRV.ask(_session(), key, lambda: prv_epsilon(case.phases, case.delta, limit_seconds=PRV_SECONDS))


@lru_cache(maxsize=256)
def _exact(case: Case, accountant: str) -> float:
    return epsilon_of(case.phases, case.delta, accountant=accountant, adjacency=case.adjacency)


def _say(bar: Bar | None, label: str, library: Future | None, prv: Future | None) -> str:
    if bar is not None:
        number = f"**{bar.epsilon:.5g}**" if math.isfinite(bar.epsilon) else "**∞**"
        return f"{number}, {bar.standing}"
    if label.startswith("PRV") and prv is None:
        return "not asked yet"
    future = prv if label.startswith("PRV") else library
    return "at work …" if label in _SLOW and future is not None and not future.done() else "no answer"
