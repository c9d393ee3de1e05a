"""The settings that all runs of a new sweep share: those of its start, as a person changes them here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st

from privlab.analysis.settings import SETTINGS, applies, values_of
from privlab.config import ConfigError, RunConfig
from privlab.config.run import set_path
from privlab.ui.fields import by_path, field
from privlab.ui.sweeps import draft

_PREFIX = "sw-base-"
_NOISE = {"privacy.noise_multiplier", "privacy.target_epsilon"}
_ELSEWHERE = (
    "Everything else is as in the start. To change it: set it in the Lab, launch one run, and choose “Sweep around these "
    "settings” on its page."
)


def shared_values(start: RunConfig) -> dict[str, Any]:
    """Every setting of ``start`` by its path, with what the fields say in its place."""
    values = values_of(start)
    return values | {path: draft.said(_PREFIX + path, value) for path, value in values.items()}


def shared_config(start: RunConfig, values: Mapping[str, Any]) -> tuple[RunConfig, dict[str, list[str]]]:
    """The settings that ``values`` say; where they are refused those of ``start``, and the problems by path."""
    raw, before, empty = start.to_dict(), values_of(start), {}
    for path, value in values.items():
        if value == before[path]:
            continue
        if value is None:
            empty[path] = [f"{SETTINGS[path].label} is empty; give a number."]
        else:
            set_path(raw, path, value)
    try:
        config = RunConfig.from_dict(raw)
    except ConfigError as error:
        return start, by_path(error.problems) | empty
    return (start, empty) if empty else (config, {})


def shared_fields(
    values: Mapping[str, Any], varied: Collection[str], problems: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Draw a field for each usual setting that is not varied; where the problems of each go."""
    paths = [path for path in SETTINGS if path != "name" and not SETTINGS[path].knob.expert and applies(path, values)]
    # Noise is said one way: the start's.
    hidden = set(varied) | (_NOISE if _NOISE & set(varied) else {path for path in _NOISE if values[path] is None})
    paths = [path for path in paths if path not in hidden]
    shown = [SETTINGS[path].show(values[path]) for path in ("data.dataset", "model.name") if path in paths]
    shown += [
        f"{SETTINGS[path].knob.symbol or SETTINGS[path].label} = {SETTINGS[path].show(values[path])}"
        for path in paths
        if SETTINGS[path].is_number
    ]
    st.caption(" · ".join(shown))
    spots = {}
    with st.expander("Change what all runs share", expanded=bool(problems), key="sweep-shared"):
        columns = st.columns(2, gap="medium")
        for place, path in enumerate(paths):
            with columns[place % 2]:
                draft.kept(_PREFIX + path, values[path])
                field(path, values, _PREFIX)
                draft.keep(_PREFIX + path)
                spots[path] = st.container()
        st.caption(_ELSEWHERE)
    return spots
