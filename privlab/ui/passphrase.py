"""Asking for a passphrase. It stays in the widget's memory until it is used, and nowhere else."""

from __future__ import annotations

import streamlit as st


def passphrase_field(
    key: str,
    label: str = "Passphrase",
    help: str = "Opens this run's files. It is never written down: keep it, nobody can recover it.",
) -> None:
    """A password field; :func:`take` reads it. It never enters the address, the store or the draft."""
    st.text_input(label, key=key, type="password", autocomplete="off", help=help)


def take(key: str) -> str | None:
    """What was entered under ``key``, and forget it. For callbacks."""
    entered = st.session_state.get(key)
    if entered is not None:
        # Deleting takes it from the server's memory too; the empty value that follows only empties the field on screen.
        del st.session_state[key]
        st.session_state[key] = ""
    return entered or None
