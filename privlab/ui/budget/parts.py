"""The parts of the Budget page: the answer, and what it means from every side."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import streamlit as st

from privlab.charts.accountants import Bar, Standing, bars_figure
from privlab.charts.budget import budget_figure
from privlab.charts.tradeoff import Marked, trade_off_figure
from privlab.privacy import PrivacyPlan, logged_steps, odds, steps_for
from privlab.privacy.accounting import curve_of, epsilon_of
from privlab.privacy.calibration import steps_within
from privlab.privacy.odds import STRICT_RATE, Odds, trade_off
from privlab.privacy.phases import Phase
from privlab.privacy.shuffle import shuffle_lower_bound
from privlab.ui.budget.case import Case, problems_of, up
from privlab.ui.budget.form import AXES, FIELDS, keep_address
from privlab.ui.guard import escape, guarded

_AXES = {"linear": "linear axes", "log": "logarithmic axes"}
_BARE = {"displayModeBar": False}
#: Points on the curve of ε.
_POINTS = 40
#: Rates of the trade-off curve: dense near both ends and evenly between.
_RATES = np.unique(np.concatenate([np.logspace(-5, 0, 61), np.linspace(0, 1, 81), [STRICT_RATE]]))


def facts(case: Case | None) -> None:
    """What goes with the answer."""
    if case is None:
        st.markdown("A field needs another value; the reason stands below it.")
        return
    with st.container(horizontal=True, key="answer-facts"):
        st.metric("Steps T", f"{case.steps:,}", help="E · N / B, rounded: how often noise is added.")
        st.metric("Sampling rate q", f"{case.sample_rate:.4g}", help="B / N, the chance of each record to join a step.")
        spent = FIELDS["epsilon"].show(case.epsilon) if math.isfinite(case.epsilon) else "∞"
        st.metric("ε spent", spent, help=f"At δ = {case.delta:.3g}, by the accountant chosen. {FIELDS['epsilon'].help}")


def _group_in_words(case: Case, size: int) -> None:
    try:
        spent = _group(case, size)
    except ValueError as error:
        st.warning(escape(str(error)))
        return
    worth = f"ε = {up(spent, 4):.4g}" if math.isfinite(spent) else "no finite ε"
    st.markdown(
        f"For a **group of {size}** records together the same training gives **{worth}** at δ = {case.delta:.3g}."
    )


@lru_cache(maxsize=256)
def _group(case: Case, size: int) -> float:
    return epsilon_of(case.phases, case.delta, accountant=case.accountant, adjacency=case.adjacency, group_size=size)


def plan_of(case: Case) -> PrivacyPlan:
    """``case`` as a plan; C changes nothing here."""
    return PrivacyPlan(
        records=case.records,
        batch_size=case.batch_size,
        steps=case.steps,
        noise_multiplier=case.noise_multiplier,
        max_grad_norm=1.0,
        delta=case.delta,
        accountant=case.accountant,
        adjacency=case.adjacency,
    )


@lru_cache(maxsize=128)
def odds_of(case: Case) -> Odds:
    return odds(plan_of(case))


def in_words(case: Case, group_size: int | None) -> None:
    """The odds as sentences, and what the guarantee is worth to a group of records."""
    st.markdown("**What this means for a person whose record was used**")
    st.markdown("\n".join(f"- {escape(sentence)}" for sentence in odds_of(case).sentences))
    if group_size is not None and group_size > 1:
        _group_in_words(case, group_size)


# The trade-off curve ------------------------------------------------------------------------------------------------------


@st.fragment
@guarded()
def attacker(case: Case) -> None:
    """The trade-off curve with its marks, and what the pair (ε, δ) alone would say."""
    axes = st.segmented_control(
        "Axes", AXES, format_func=_AXES.get, key="axes", required=True, label_visibility="collapsed"
    )
    keep_address()
    told, hits = odds_of(case), _trade_off(case)
    best = int(np.argmax(hits - _RATES))
    marks = [
        Marked(_RATES[best], hits[best], f"largest advantage {told.advantage:.3f}"),
        Marked(STRICT_RATE, told.strict_hits, f"{_percent(told.strict_hits)} at {STRICT_RATE:.1%} wrong"),
    ]
    st.plotly_chart(
        trade_off_figure(_RATES, hits, pair=(case.epsilon, case.delta), marks=marks, log=axes == "log"),
        key="trade-off",
        config=_BARE,
        alt=f"Largest true-positive rate against false-positive rate: largest advantage {told.advantage:.3f}, "
        f"{_percent(told.strict_hits)} recognised at {STRICT_RATE:.1%} wrongly named; a coin flip is the diagonal",
    )
    st.caption(
        f"Largest advantage (true minus false positives): **{told.advantage:.3f}** from the whole curve; the pair "
        f"(ε, δ) alone would have to admit **{told.advantage_of_pair:.3f}**. True-positive rate at {STRICT_RATE:.1%} "
        f"false positives: **{_percent(told.strict_hits)}**."
    )


@lru_cache(maxsize=64)
def _trade_off(case: Case) -> np.ndarray:
    return trade_off(case.phases, tuple(_RATES), adjacency=case.adjacency)


def _percent(share: float) -> str:
    """Rounded up at two significant digits, so that it stays a bound."""
    if share <= 0:
        return "0 %"
    tick = 10.0 ** (math.floor(math.log10(100 * share)) - 1)
    return f"{min(100.0, math.ceil(100 * share / tick - 1e-6) * tick):.3g} %"


# ε over epochs ------------------------------------------------------------------------------------------------------------


@st.fragment
@guarded()
def over_epochs(case: Case) -> None:
    """ε by epoch, and the step at which a limit would be reached."""
    limit = st.number_input(
        "Budget: stop at ε",
        value=None,
        step=0.5,
        format="%.4g",
        placeholder="no limit",
        key="limit",
        help="A run with this limit ends by itself after the last step whose ε does not exceed it.",
    )
    keep_address()
    wrong = problems_of({"epsilon": limit}) if limit is not None else {}
    for message in wrong.values():
        st.error(escape(message))
    limit = None if wrong else limit
    if limit is None:
        st.caption("Give a limit to see at which step this budget ends.")
    else:
        _forecast(case, limit)
    steps = logged_steps(case.steps, _POINTS)
    figure = budget_figure([step * case.sample_rate for step in steps], _curve(case, steps), limit)
    st.plotly_chart(
        figure, key="over-epochs", config=_BARE, alt=f"ε by epoch; {up(case.epsilon, 4):.4g} after {case.steps:,} steps"
    )


@lru_cache(maxsize=128)
def _curve(case: Case, steps: tuple[int, ...]) -> np.ndarray:
    return curve_of(case.phases, steps, case.delta, accountant=case.accountant, adjacency=case.adjacency)


def _forecast(case: Case, limit: float) -> None:
    last = _last_step(case, limit)
    if last < 1:
        first = float(_curve(case, (1,))[0])
        st.warning(f"The first step already spends ε = {first:.4g}, more than {limit:g}: nothing can be trained.")
    elif last < case.steps:
        st.warning(
            f"The budget of ε = {limit:g} ends at step **{last:,}** of {case.steps:,} "
            f"(epoch {last * case.sample_rate:.1f} of {case.epochs:,}). More noise lets the training go on."
        )
    else:
        st.success(f"All {case.steps:,} steps fit into the budget of ε = {limit:g}.")


@lru_cache(maxsize=128)
def _last_step(case: Case, limit: float) -> int:
    return steps_within(limit, case.phases, case.delta, accountant=case.accountant, adjacency=case.adjacency)


# Shuffling ----------------------------------------------------------------------------------------------------------------


@guarded()
def shuffling(case: Case) -> None:
    """What batches from a shuffled list really cost, beside the Poisson sampling that is accounted."""
    steps = steps_for(1, case.records, case.batch_size)
    poisson, least = _shuffled(case.sample_rate, case.noise_multiplier, steps, case.delta)
    bars = [
        Bar("Poisson sampling", poisson, Standing.CLAIM),
        Bar("shuffled batches", least, Standing.FLOOR, f"at least {least:.4g}" if math.isfinite(least) else "∞"),
    ]
    st.plotly_chart(
        bars_figure("ε of one epoch with the same noise", bars),
        key="shuffling",
        config=_BARE,
        alt=f"ε of one epoch: {poisson:.4g} with Poisson sampling, at least {least:.4g} with shuffled batches",
    )
    st.caption(
        f"One epoch of {steps:,} steps at δ = {case.delta:.3g}, one record added or removed. "
        + _what_it_means(poisson, least)
    )
    st.caption(
        "Poisson sampling, which PrivLab does, lets each record join each batch by a coin of its own. Most data loaders "
        "shuffle the list once an epoch and cut it into batches instead; reporting the Poisson ε for them claims too much "
        "privacy. The bound is a proven minimum (Chua et al. 2024), and the true cost may be larger."
    )


def _what_it_means(poisson: float, least: float) -> str:
    if least > poisson:
        more = f"{least / poisson:.1f} times" if poisson > 0 and math.isfinite(least) else "far more than"
        return f"Here shuffling costs **at least {more}** what is accounted for Poisson sampling."
    return "Here the proven minimum does not exceed the Poisson value, so nothing follows against shuffling."


@lru_cache(maxsize=128)
def _shuffled(q: float, sigma: float, steps: int, delta: float) -> tuple[float, float]:
    return epsilon_of((Phase(q, sigma, steps),), delta), shuffle_lower_bound(sigma, steps, delta)
