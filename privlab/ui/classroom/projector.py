"""The board for a whole room: large type, one chart, and the link to join."""

from __future__ import annotations

import streamlit as st

from privlab.classroom.session import Session
from privlab.ui.classroom import links
from privlab.ui.classroom.board import board
from privlab.ui.guard import escape

#: Read from the last row: everything half as large again, and no menu.
_LARGE = """
<style>
[data-testid="stMainBlockContainer"] { zoom: 1.4; }
[data-testid="stHeader"] { display: none; }
</style>
"""


def show(session: Session) -> None:
    """The session's board in large type."""
    st.html(_LARGE)
    title, join = st.columns([3, 2], vertical_alignment="center")
    title.title(escape(session.lesson.title), anchor=False)
    join.markdown("Closed." if session.closed else f"Join: **{escape(links.link(session.id))}**")
    board(session, large=True)
