"""What a participant does: say a name, launch within the rules, and see how good the guesses were."""

from __future__ import annotations

import math
import secrets
from typing import Any

import pandas as pd
import streamlit as st

from privlab.classroom import session as sessions
from privlab.classroom.lesson import LONGEST
from privlab.classroom.session import ClassClosed, Session
from privlab.config import ConfigError
from privlab.config.presets import PRESETS
from privlab.metrics import UTILITY
from privlab.runs.store import ClassRun, Participant
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.classroom import links
from privlab.ui.classroom.teacher import rules
from privlab.ui.fields import by_path, show_problems
from privlab.ui.guard import attempted, escape, refuse
from privlab.ui.settings import SETTINGS, values_of

_PROBLEMS, _KEY = "class-problems", "class-launch-key"


def join_form(session: Session) -> None:
    """Asks for a name."""
    problems = by_path(st.session_state.pop(_PROBLEMS, ()))
    with st.container(border=True, width=520, key="class-join"):
        st.markdown(rules(session))
        st.text_input("Your name, as the others will see it", max_chars=LONGEST, key="class-name")
        show_problems("name", problems)
        st.button("Join", type="primary", key="class-join-button", on_click=_join, args=(session,))


def _join(session: Session) -> None:
    try:
        who = sessions.join(store(), session, st.session_state["class-name"])
    except ConfigError as error:
        st.session_state[_PROBLEMS] = error.problems
        return
    except ClassClosed as closed:
        return refuse(str(closed))
    links.go(session.id, **{links.ME: who.id})


def launch_form(session: Session, who: Participant) -> None:
    """Preset, open settings, guess, what the run would cost, and the button."""
    lesson = session.lesson
    problems = by_path(st.session_state.pop(_PROBLEMS, ()))
    with st.container(border=True, key="class-launch"):
        st.subheader(f"Launch as {escape(who.name)}", anchor=False)
        preset = st.selectbox("Preset", lesson.presets, format_func=lambda key: PRESETS[key].title, key="class-preset")
        st.caption(escape(PRESETS[preset].blurb))
        show_problems("preset", problems)
        changes = _open_settings(session, preset, problems)
        guess = None
        if lesson.guess and PRESETS[preset].config.data.task == "classify":
            guess = st.number_input(
                "Your guess: test accuracy, %", value=None, step=1.0, format="%g", placeholder="for example 85", key="class-guessed",
                help="What will the model reach? It is kept before the run begins, and compared when it has ended.",
            )  # fmt: skip
            show_problems("guess", problems)
        _cost(session, who, preset, changes)
        show_problems("budget", problems)
        _show_others(problems, ("preset", "guess", "budget", *lesson.open))
        st.button(
            "Launch", type="primary", key="class-launch-button", disabled=bool(session.closed), on_click=_launch,
            args=(session, who, preset, changes, None if guess is None else guess / 100),
        )  # fmt: skip


def _open_settings(session: Session, preset: str, problems: dict[str, list[str]]) -> dict[str, Any]:
    config = PRESETS[preset].config
    values, found = values_of(config), {}
    for path in session.lesson.open:
        if not sessions.applies(config, path):
            continue
        setting = SETTINGS[path]
        kind = int if setting.is_integer else float
        value = st.number_input(
            setting.label_and_unit, value=kind(values[path]), step=kind(setting.knob.step or 1), key=f"class-{preset}-{path}",
            format=None if setting.is_integer else setting.knob.format, help=setting.help,
        )  # fmt: skip
        show_problems(path, problems)
        if value != values[path]:
            found[path] = value
    return found


def _show_others(problems: dict[str, list[str]], shown: tuple[str, ...]) -> None:
    for path in problems:
        if path not in shown:
            show_problems(path, problems)


def _cost(session: Session, who: Participant, preset: str, changes: dict[str, Any]) -> None:
    """What the run would cost, and what is left."""
    try:
        config = sessions.config_for(session.lesson, who, preset, changes)
        before, after = sessions.would_cost(store(), session, who, config)
    except ConfigError as error:
        for problem in error.problems:
            st.error(escape(problem.message))
        return
    budget = session.lesson.budget
    said = "ε = ∞: no guarantee" if math.isinf(after) else f"ε = {after:.3g}"
    if budget is None:
        st.caption(f"All your runs on this data set together, with this one: {said}.")
        return
    st.progress(
        min(1.0, after / budget),
        f"Spent ε = {before:.3g} of {budget:g}; with this run {said}."
        if before
        else f"This run: {said} of {budget:g}.",
    )


def _launch(session: Session, who: Participant, preset: str, changes: dict[str, Any], guess: float | None) -> None:
    # Kept until the launch is done: a repeated press finds the same key and launches nothing more.
    key = st.session_state.setdefault(_KEY, f"class-{session.id}-{secrets.token_hex(8)}")
    try:
        with attempted():
            try:
                sessions.launch(store(), session, who, preset, changes, guess, launch_key=key)
            except ConfigError as error:
                st.session_state[_PROBLEMS] = error.problems
                return
            except ClassClosed as closed:
                return refuse(str(closed))
            st.session_state["class-guessed"] = None
    finally:
        st.session_state.pop(_KEY, None)


def own_runs(who: Participant, runs: list[ClassRun]) -> None:
    """The participant's runs: what was guessed, and what came of it."""
    own = [each for each in reversed(runs) if each.participant.id == who.id]
    if not own:
        st.caption("Your runs will be listed here, each beside your guess.")
        return
    reached = [each.run.metrics.get(UTILITY["classify"].key) for each in own]
    over = [each.run.status.is_over for each in own]
    frame = pd.DataFrame(
        {
            "Run": [f"{place}" for place in range(len(own), 0, -1)],
            "Status": [labels.state(each.run) for each in own],
            "ε": [labels.epsilon(each.run) for each in own],
            "Guess": [each.guess for each in own],
            "Reached": reached,
            "Off by": [
                abs(each.guess - value) if done and value is not None and each.guess is not None else None
                for each, value, done in zip(own, reached, over, strict=True)
            ],
        }
    )
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        frame, hide_index=True, key="class-own", alt="Your runs, guesses and results", placeholder="–",
        column_config={"Guess": percent, "Reached": percent, "Off by": percent},
    )  # fmt: skip
