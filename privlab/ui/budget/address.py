"""The Budget page in the address: every field's value, so that a link reproduces the page.

Streamlit's own binding leaves out what equals a default and what the page itself sets, so the page writes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

_SAID, _DRAFT = "budget-address", "budget-draft"
#: Beyond these, Streamlit's number fields fail.
_MOST_WHOLE, _MOST = 2**53 - 1, 1e300


@dataclass(frozen=True)
class Entry:
    """One field in the address: ``start`` on a first visit; allowed ``choices`` of text; ``optional`` if it may be empty."""

    start: int | float | str | None
    choices: tuple[str, ...] = ()
    optional: bool = False

    def read(self, text: str | None) -> Any:
        """The value that ``text`` says (None if it is empty); ``start`` where it says none that can be read."""
        if text is None:
            return self.start
        if self.choices:
            return text if text in self.choices else self.start
        if text == "":
            return None
        whole = isinstance(self.start, int)
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            return self.start
        return value if abs(value) <= (_MOST_WHOLE if whole else _MOST) else self.start


def begin(entries: Mapping[str, Entry]) -> None:
    """Give every field its value before it is drawn: from a new address, else as it was left, else its start."""
    draft = st.session_state.setdefault(_DRAFT, {name: entry.start for name, entry in entries.items()})
    address = {name: text for name, text in st.query_params.to_dict().items() if name in entries}
    if address and address != st.session_state.get(_SAID):
        for name, entry in entries.items():
            put(name, entry.read(address.get(name)))
        st.session_state[_SAID] = address
    for name, value in draft.items():
        # Streamlit forgets the value of a field that is not drawn.
        st.session_state.setdefault(name, value)


def put(name: str, value: Any) -> None:
    """Set a field that is not drawn yet in this script run."""
    st.session_state[_DRAFT][name] = st.session_state[name] = value


def keep(entries: Mapping[str, Entry], left_out: str) -> None:
    """Write the address where it differs, without the field ``left_out``, which follows from the others."""
    draft = st.session_state[_DRAFT]
    draft.update({name: st.session_state[name] for name in draft if name in st.session_state})
    said = {}
    for name, value in draft.items():
        if name != left_out and not (value is None and entries[name].optional):
            said[name] = "" if value is None else repr(value) if isinstance(value, float) else str(value)
    if said != st.query_params.to_dict():
        st.query_params.from_dict(said)
    st.session_state[_SAID] = said
