"""What a teacher does: begin a session, hand out its link, close it."""

from __future__ import annotations

import streamlit as st

from privlab.classroom import session as sessions
from privlab.classroom.lesson import LONGEST, MOST_BUDGET, OPEN, Lesson
from privlab.classroom.session import Session
from privlab.config import ConfigError
from privlab.config.presets import PRESETS
from privlab.preflight import missing_inputs
from privlab.ui.access import store
from privlab.ui.classroom import links
from privlab.ui.fields import by_path, show_problems
from privlab.ui.guard import attempted, escape
from privlab.ui.settings import SETTINGS

#: Presets that end in seconds on any machine and need nothing fetched.
_USUAL = ("digits", "weak", "medium", "strong")


def begin_form() -> None:
    """A form for the rules of a new session; problems stand below their fields."""
    st.title("Class", anchor=False)
    st.markdown(
        "Many people launch runs from their own browsers and see each other's points on one chart, as they come. You choose what "
        "they may launch, and how much privacy each may spend."
    )
    problems = by_path(st.session_state.pop("class-problems", ()))
    with st.container(border=True, width=760):
        st.text_input("Title", max_chars=LONGEST, placeholder="Privacy 101", key="class-title")
        show_problems("title", problems)
        st.multiselect(
            "Presets that may be launched", list(PRESETS), default=_USUAL, key="class-presets",
            format_func=lambda key: PRESETS[key].title,
            help="Everything that is not left open below stays as the preset says.",
        )  # fmt: skip
        show_problems("presets", problems)
        _show_missing(st.session_state["class-presets"])
        st.multiselect(
            "Settings left open", list(OPEN), default=["privacy.target_epsilon", "privacy.max_grad_norm"], key="class-open",
            format_func=lambda path: SETTINGS[path].label,
            help="What participants may change before they launch.",
        )  # fmt: skip
        show_problems("open", problems)
        st.number_input(
            "Budget of each participant, ε", value=None, min_value=None, step=1.0, placeholder="no limit", key="class-budget",
            help=f"What all runs of one participant on one data set may cost together, up to {MOST_BUDGET:g}. Runs without a "
            "guarantee then cannot be launched. Empty: no limit.",
        )  # fmt: skip
        show_problems("budget", problems)
        st.toggle(
            "Guess before launching", value=True, key="class-guess",
            help="Before each launch a participant says which accuracy the run will reach; the board shows how far off they were.",
        )  # fmt: skip
        st.button("Begin the session", type="primary", key="class-begin", on_click=_begin)


def _show_missing(presets: list[str]) -> None:
    for key in presets:
        config = PRESETS[key].config
        for problem in missing_inputs(config.data.dataset, config.model.name):
            st.warning(escape(f"{PRESETS[key].title}: participants cannot launch it yet. {problem.message}"))


def _begin() -> None:
    state = st.session_state
    try:
        lesson = Lesson(
            state["class-title"],
            tuple(state["class-presets"]),
            tuple(state["class-open"]),
            state["class-budget"],
            state["class-guess"],
        )
    except ConfigError as error:
        state["class-problems"] = error.problems
        return
    with attempted():
        made = sessions.begin(store(), lesson)
        links.go(made.id, **{links.TEACHER: made.key})


def panel(session: Session) -> None:
    """The session's links and rules, and the button that closes it."""
    with st.container(border=True, key="class-teacher"):
        st.subheader("For you, the teacher", anchor=False)
        st.markdown("Participants open this link and say their name:")
        st.code(links.link(session.id), language=None, wrap_lines=True)
        st.markdown("For the projector:")
        st.code(links.link(session.id, **{links.VIEW: links.PROJECTOR}), language=None, wrap_lines=True)
        st.caption(
            "Keep the address of this page: it alone can close the session. Whoever reaches this app can join; on other computers "
            "the links begin with this computer's name or address."
        )
        if session.closed:
            st.button("Open it again", key="class-reopen", on_click=_close, args=(session.id, False))
        else:
            st.button("Close the session", key="class-close", on_click=_close, args=(session.id, True),
                      help="The board stays; nobody can join or launch. You can open it again.")  # fmt: skip


def _close(session_id: str, closed: bool) -> None:
    with attempted():
        store().set_class_closed(session_id, closed)


def rules(session: Session) -> str:
    """The rules in a sentence or two."""
    lesson = session.lesson
    presets = ", ".join(PRESETS[key].title for key in lesson.presets)
    changes = ", ".join(OPEN[path] for path in lesson.open) or "nothing"
    budget = "" if lesson.budget is None else f" Each participant may spend ε = {lesson.budget:g} on a data set."
    return escape(f"You may launch: {presets}. You may change: {changes}.{budget}")
