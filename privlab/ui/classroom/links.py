"""What the address of the Class page says: which session, and who looks at it."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import streamlit as st

SESSION, ME, TEACHER, VIEW = "session", "me", "teacher", "view"
#: The view for a projector.
PROJECTOR = "projector"


def named(parameter: str) -> str | None:
    """What the address says of ``parameter``, or None."""
    return st.query_params.get(parameter, "").strip() or None


def link(session_id: str, **more: str) -> str:
    """The whole address of a session, as this browser reaches the app."""
    at = urlsplit(st.context.url or "http://localhost:8501/class")
    return f"{at.scheme}://{at.netloc}{at.path}?{urlencode({SESSION: session_id, **more})}"


def go(session_id: str, **more: str) -> None:
    """Make the address that of a session. Whoever looks at it, and how, is said anew."""
    st.query_params.from_dict({SESSION: session_id, **more})
