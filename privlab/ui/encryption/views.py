"""The views of the Encryption page, one of which the address names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from privlab.ui.encryption.answer import encrypted_inference
from privlab.ui.encryption.ciphertext import on_ciphertext
from privlab.ui.encryption.eyes import through_other_eyes
from privlab.ui.encryption.sidebyside import side_by_side
from privlab.ui.encryption.threats import threat_table
from privlab.ui.keyspage import keys_panel

_KEY, _NAME = "encryption-view", "view"


@dataclass(frozen=True)
class View:
    """One view: its name in the choice, and what draws it."""

    title: str
    draw: Callable[[], None]


VIEWS: dict[str, View] = {
    "modes": View("Modes side by side", side_by_side),
    "eyes": View("See it as thief, server, owner", through_other_eyes),
    "inference": View("Ask an encrypted question", encrypted_inference),
    "ciphertext": View("Train on ciphertext", on_ciphertext),
    "keys": View("Keys", keys_panel),
    "threats": View("What protects from what", threat_table),
}


def choose_view() -> str:
    """Draw the choice; the key of the chosen view, which the address keeps."""
    named = st.query_params.get(_NAME)
    st.session_state.setdefault(_KEY, named if named in VIEWS else next(iter(VIEWS)))
    chosen = st.segmented_control(
        "View",
        list(VIEWS),
        format_func=lambda key: VIEWS[key].title,
        key=_KEY,
        required=True,
        label_visibility="collapsed",
    )
    if st.query_params.get(_NAME) != chosen:
        st.query_params[_NAME] = chosen
    return chosen
