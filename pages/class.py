"""A class session: ``/class`` begins one; ``?session=ID`` joins it, ``&view=projector`` shows it to a room."""

from __future__ import annotations

import streamlit as st

from privlab.classroom import session as sessions
from privlab.runs.store import UnknownClass
from privlab.ui.access import store
from privlab.ui.classroom import board, links, participant, projector, teacher
from privlab.ui.guard import escape, guarded, show_notice


@guarded()
def page() -> None:
    show_notice()
    session_id = links.named(links.SESSION)
    if session_id is None:
        return teacher.begin_form()
    try:
        session = sessions.find(store(), session_id)
    except UnknownClass as error:
        st.error(escape(str(error)))
        return teacher.begin_form()
    if links.named(links.VIEW) == links.PROJECTOR:
        return projector.show(session)
    st.title(escape(session.lesson.title), anchor=False)
    if session.closed:
        st.info("This session is closed: its board stays, and nothing more can be launched.")
    me = links.named(links.ME)
    who = next((each for each in store().participants(session.id) if each.id == me), None)
    side, wide = st.columns([2, 5], gap="medium")
    with side:
        if links.named(links.TEACHER) == session.key:
            teacher.panel(session)
        elif who is not None:
            participant.launch_form(session, who)
        elif not session.closed:
            participant.join_form(session)
    with wide:
        board.board(session, who)


page()
