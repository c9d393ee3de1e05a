"""The Lab's form. It is drawn from the declarations, so a new setting appears by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from privlab.ui.draft import NOISE_BY, SIGMA, TARGET
from privlab.ui.fetching import show_availability, show_weights
from privlab.ui.fields import field, show_problems
from privlab.ui.launching import PASSPHRASE
from privlab.ui.ownmodel import bring_model
from privlab.ui.passphrase import passphrase_field
from privlab.ui.settings import SECTIONS, SETTINGS, applies, usual_part

#: Groups under one heading.
_TOGETHER = {"data": "Data and model", "model": None}
_NOISE_LABELS = {TARGET: "noise by target ε", SIGMA: "by multiplier σ"}

Problems = Mapping[str, list[str]]


def form(values: Mapping[str, Any], problems: Problems) -> None:
    """Draw every field with its problem below it; expert settings are folded away, and unfold where one is refused."""
    for section, title in SECTIONS.items():
        declared = [p for p in SETTINGS if p.startswith(f"{section}.") and _shown(p, values)]
        plain = [path for path in declared if not SETTINGS[path].knob.expert]
        expert = [path for path in declared if SETTINGS[path].knob.expert]
        heading = _TOGETHER.get(section, title)
        if plain and heading:
            st.subheader(f"{heading}", anchor=False)
        _fields(plain, values, problems)
        if expert:
            with st.expander(f"More on {title.lower()}", expanded=any(path in problems for path in expert)):
                _fields(expert, values, problems)
    _fields(["name"], values, problems)


def _shown(path: str, values: Mapping[str, Any]) -> bool:
    if path in _NOISE_LABELS:
        return path == values[NOISE_BY]
    return applies(path, values)


def _fields(paths: list[str], values: Mapping[str, Any], problems: Problems) -> None:
    for path in paths:
        if path in _NOISE_LABELS:
            _choose_noise(values)
        field(path, values)
        show_problems(path, problems)
        if path == "data.dataset":
            show_availability(values[path])
        if path == "model.name":
            show_weights(values[path])
            bring_model(values["data.dataset"])
        if path == "model.trains" and (part := usual_part(values)):
            # Not in the list itself, whose chosen entry the browser does not rename.
            st.caption(f"Usual here: {part}.")
        if path == "encryption.key" and values[path] == "passphrase":
            passphrase_field(PASSPHRASE)


def _choose_noise(values: Mapping[str, Any]) -> None:
    """Noise is said one way or the other; the preview keeps the value not chosen in step."""
    if NOISE_BY not in st.session_state:
        st.session_state[NOISE_BY] = values[NOISE_BY]
    st.segmented_control(
        "Set the noise by",
        list(_NOISE_LABELS),
        format_func=_NOISE_LABELS.get,
        key=NOISE_BY,
        required=True,
        width="stretch",
        label_visibility="collapsed",
    )
