"""Before a launch: what these settings will spend, mean and take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st

from privlab.charts.budget import budget_figure
from privlab.config import Problem, RunConfig
from privlab.metrics import Release
from privlab.models.catalogue import MODELS
from privlab.preflight import Preflight, preflight
from privlab.privacy import Odds, PrivacyPlan, epsilon_curve, logged_steps, odds
from privlab.runs.estimate import estimate
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.draft import NOISE_BY, SIGMA, TARGET
from privlab.ui.guard import escape, guarded
from privlab.ui.settings import SETTINGS

#: Points on the budget curve.
_POINTS = 40
_HEIGHT = 165


@dataclass(frozen=True)
class Ahead:
    """What follows from settings: facts and plan, and the budget curve as epochs and ε of equal length."""

    facts: Preflight
    epochs: tuple[float, ...]
    epsilon: tuple[float, ...]
    odds: Odds

    @property
    def config(self) -> RunConfig:
        return self.facts.config

    @property
    def final(self) -> float:
        """ε of the whole run, by the exact accountant; the curve's grid is coarser."""
        return self.odds.epsilon


def look_ahead(config: RunConfig) -> Ahead:
    """Reckon what ``config`` will spend; remembered, because a page asks again at every rerun.

    Raises:
        ConfigError: every problem of the settings.
    """
    # A model that was added may be removed meanwhile.
    return _look_ahead(config.to_json(), config.model.name in MODELS)


@lru_cache(maxsize=128)
def _look_ahead(text: str, _here: bool) -> Ahead:
    facts = preflight(RunConfig.from_json(text))
    steps = logged_steps(facts.plan.steps, _POINTS)
    epsilon = tuple(float(value) for value in epsilon_curve(facts.plan, steps, preview=True))
    epochs = tuple(step * facts.plan.sample_rate for step in steps)
    return Ahead(facts, epochs, epsilon, odds(facts.plan))


def show_preview(ahead: Ahead, values: dict[str, Any]) -> None:
    """Numbers, the budget curve and the odds in words. Also keeps the noise value that is not chosen in step."""
    plan = ahead.facts.plan
    _keep_in_step(ahead, values)
    with st.container(border=True, key="preview"):
        st.subheader("Before you launch", anchor=False)
        first, second = st.columns(2)
        if plan.is_private:
            first.metric(
                "ε at the end", f"{ahead.final:.3f}", help=f"At δ = {plan.delta:g}. {SETTINGS[TARGET].knob.help}"
            )
        else:
            first.metric("ε at the end", "∞", help="No guarantee is claimed without both clipping and noise.")
        second.metric("Noise σ", f"{plan.noise_multiplier:.4g}", help=SETTINGS[SIGMA].help)
        st.markdown(
            f"**{plan.steps:,}** steps · about **{plan.batch_size:,}** of {plan.records:,} {plan.unit}s each "
            f"(q = {plan.sample_rate:.4g}) · {_time(ahead)}"
        )
        _say_where_the_budget_ends(plan)
        _budget(ahead, plan.target_epsilon or plan.epsilon_limit)
        st.markdown(escape(ahead.odds.sentences[0]))
        if len(ahead.odds.sentences) > 1:
            with st.expander("More odds"):
                st.markdown("\n".join(f"- {escape(sentence)}" for sentence in ahead.odds.sentences[1:]))


def _say_where_the_budget_ends(plan: PrivacyPlan) -> None:
    if plan.epsilon_limit is None or not plan.is_private:
        return
    if plan.steps < plan.planned_steps:
        epochs = plan.steps * plan.sample_rate
        st.warning(
            f"The budget of ε = {plan.epsilon_limit:g} ends at step {plan.steps:,} of {plan.planned_steps:,} "
            f"(epoch {epochs:.1f}). The run stops there by itself; more σ lets it go on."
        )
    else:
        st.caption(f"All {plan.steps:,} steps fit into the budget of ε = {plan.epsilon_limit:g}.")


@guarded()
def _budget(ahead: Ahead, target: float | None) -> None:
    figure = budget_figure(ahead.epochs, ahead.epsilon, target)
    st.caption(f"ε by epoch · {Release.RELEASED}")
    figure.update_layout(height=_HEIGHT, title=None, margin={"l": 44, "r": 8, "t": 12, "b": 40})
    st.plotly_chart(
        figure,
        key="budget",
        config={"displayModeBar": False},
        alt=f"Privacy spent by epoch; ε = {ahead.final:.3f} at the end",
    )


def _time(ahead: Ahead) -> str:
    expected = estimate(store(), ahead.facts)
    if expected is None:
        return "no earlier run here tells the time; it can be measured below"
    source = "as earlier runs here" if expected.source == "runs" else "by the steps measured here"
    return f"about **{labels.duration(expected.seconds)}**, {source}"


def _keep_in_step(ahead: Ahead, values: dict[str, Any]) -> None:
    """Switching between σ and ε then keeps the privacy as it is."""
    if values[NOISE_BY] == TARGET:
        values[SIGMA] = ahead.facts.plan.noise_multiplier
        st.session_state.pop(SIGMA, None)
    elif math.isfinite(ahead.final):
        values[TARGET] = float(f"{ahead.final:.3g}")
        st.session_state.pop(TARGET, None)


def show_refusal(problems: Sequence[Problem]) -> None:
    """In place of the preview: which settings to change."""
    with st.container(border=True, key="preview"):
        st.subheader("Before you launch", anchor=False)
        listed = "\n".join(f"- **{_name(problem.path)}**" for problem in problems)
        st.markdown(f"These settings cannot be launched. The reason stands below each field:\n\n{listed}")
        for problem in problems:
            if problem.path not in SETTINGS:
                st.error(escape(problem.message))


def _name(path: str) -> str:
    return SETTINGS[path].label if path in SETTINGS else escape(path)
