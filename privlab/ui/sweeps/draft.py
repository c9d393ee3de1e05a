"""What the form of a new sweep says at this moment, as the entries of a sweep's file."""

from __future__ import annotations

import secrets
from typing import Any

import streamlit as st

from privlab.analysis.settings import SETTINGS, applies, values_of
from privlab.config import PRESETS, RunConfig
from privlab.metrics import UTILITY
from privlab.ui.access import store

_DRAFT = "sweep-draft"
LISTED, RANGED = "these values", "a range"


def start_config(start: str) -> RunConfig:
    """The settings that ``start``, a preset's name or a run's id, stands for. Raises UnknownRun."""
    return PRESETS[start].config if start in PRESETS else store().get(start).config


def kept(key: str, default: Any) -> Any:
    """The value of the widget ``key``, made to outlive a look at another page: what was said last, else ``default``."""
    values = st.session_state.setdefault(_DRAFT, {})
    if key not in st.session_state:
        st.session_state[key] = values.get(key, default)
    return st.session_state[key]


def said(key: str, default: Any) -> Any:
    """What the widget ``key`` says, or said last; ``default`` where it never was drawn."""
    return st.session_state.get(key, st.session_state.get(_DRAFT, {}).get(key, default))


def keep(key: str) -> Any:
    """Note what widget ``key`` says."""
    st.session_state.setdefault(_DRAFT, {})[key] = st.session_state[key]
    return st.session_state[key]


def launch_key() -> str:
    """The key of the sweep that is being drafted: two presses make one sweep."""
    return st.session_state.setdefault(_DRAFT, {}).setdefault("key", secrets.token_hex(8))


def begin(start: str) -> None:
    """Forget the draft when the form is opened around other settings."""
    values = st.session_state.setdefault(_DRAFT, {})
    if values.get("start") != start:
        forget()
        st.session_state[_DRAFT]["start"] = start


def forget() -> None:
    """An empty draft."""
    for key in [key for key in st.session_state if str(key).startswith("sw-")]:
        del st.session_state[key]
    st.session_state[_DRAFT] = {}


def can_vary(config: RunConfig) -> list[str]:
    """Settings that have something to say beside those of ``config``, those that are varied most often first."""
    values = values_of(config)
    first = [path for path in _OFTEN if applies(path, values)]
    rest = [
        path
        for path in SETTINGS
        if path not in first and path not in ("name", "training.seed") and applies(path, values)
    ]
    return [*first, *rest]


_OFTEN = (
    *("privacy.max_grad_norm", "training.learning_rate", "privacy.noise_multiplier", "privacy.target_epsilon"),
    *("training.batch_size", "training.epochs", "privacy.clipping", "model.name"),
)


def read_values(path: str, text: str) -> list[Any]:
    """Numbers as a person lists them (commas, semicolons or spaces between); what is no number stays text, to be refused."""
    return [_number(part) for part in text.replace(";", " ").replace(",", " ").split()]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def usual(path: str, config: RunConfig) -> str:
    """Values around the present one, to begin with."""
    value = values_of(config)[path]
    setting = SETTINGS[path]
    if value is None:
        value = {"privacy.noise_multiplier": 1.0, "privacy.target_epsilon": 3.0}.get(path, 1)
    if setting.is_integer:
        around = sorted({max(1, round(value * factor)) for factor in (0.5, 1, 2)})
    else:
        around = [float(f"{value * factor:.3g}") for factor in (0.5, 1, 2)] if value else [0.0, 0.5]
    return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in around)


def metric_of(config: RunConfig) -> str:
    return UTILITY[config.data.task].key
