"""The unsaved draft of the Lab's form: one value per setting, kept while pages are switched."""

from __future__ import annotations

from typing import Any

import streamlit as st

from privlab.config import PRESETS, ConfigError, Problem, RunConfig
from privlab.config.run import set_path
from privlab.ui.settings import SETTINGS, applies, offered, values_of

_DRAFT = "draft"
#: The two ways to say how much noise; the draft's value under this key names the one that counts.
NOISE_BY = "noise_by"
SIGMA, TARGET = "privacy.noise_multiplier", "privacy.target_epsilon"
_PART = "model.trains"
_FIRST = "digits"
#: Shown when a person turns to the other way of saying the noise before either was ever computed.
_START = {SIGMA: 1.0, TARGET: 3.0}


def draft() -> dict[str, Any]:
    """The draft by dotted path (None where a field is empty); the first preset in a new session.

    What the fields on the page say right now is in it, also in a callback, which runs before they are drawn again.
    """
    if _DRAFT not in st.session_state:
        fill(PRESETS[_FIRST].config)
    values = st.session_state[_DRAFT]
    values.update({path: st.session_state[path] for path in values if path in st.session_state})
    if values[_PART] not in offered(_PART, values):
        # Another model was chosen, which has no such part.
        values[_PART] = SETTINGS[_PART].info.default
        st.session_state.pop(_PART, None)
    return values


def fill(config: RunConfig) -> None:
    """Make ``config`` the draft. Only before the form is drawn in this script run, or in a callback."""
    values = values_of(config)
    values[NOISE_BY] = SIGMA if values[SIGMA] is not None else TARGET
    for path, start in _START.items():
        if values[path] is None:
            values[path] = start
    st.session_state[_DRAFT] = values
    # The fields take their values from the draft again.
    for path in (*SETTINGS, NOISE_BY):
        st.session_state.pop(path, None)


def build(values: dict[str, Any]) -> RunConfig:
    """The settings that the draft says; one that has no say beside the others, and is not drawn, has its default.

    Raises:
        ConfigError: with every refused or empty field.
    """
    unused = SIGMA if values[NOISE_BY] == TARGET else TARGET
    raw: dict[str, Any] = {}
    empty: list[Problem] = []
    for path, setting in SETTINGS.items():
        if path == unused or not applies(path, values):
            continue
        if values[path] is None:
            allowed = f" {setting.bounds}" if setting.bounds else ""
            empty.append(Problem(path, f"{setting.knob.label} is empty; give a number{allowed}."))
            # A stand-in, so that the other fields are checked as well.
            set_path(raw, path, _START.get(path, setting.info.default))
        else:
            set_path(raw, path, values[path])
    try:
        config = RunConfig.from_dict(raw)
    except ConfigError as error:
        raise ConfigError([*empty, *error.problems]) from None
    if empty:
        raise ConfigError(empty)
    return config


def preset_of(config: RunConfig) -> str | None:
    """The preset that ``config`` equals, its name left out; None if there is none."""
    plain = config.model_copy(update={"name": ""})
    return next((key for key, p in PRESETS.items() if p.config.model_copy(update={"name": ""}) == plain), None)
