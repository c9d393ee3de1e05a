"""Asking for a passphrase. It stays in the widget's memory until it is used, and nowhere else."""

from __future__ import annotations

import streamlit as st


def passphrase_field(key: str) -> None:
    """A password field; :func:`take` reads it. It never enters the address, the store or the draft."""
    st.text_input(
        "Passphrase",
        key=key,
        type="password",
        autocomplete="off",
        help="Opens this run's files. It is never written down: keep it, nobody can recover it.",
    )


def take(key: str) -> str | None:
    """What was entered under ``key``, and forget it. For callbacks."""
    entered = st.session_state.get(key)
    if entered is not None:
        st.session_state[key] = ""
    return entered or None
