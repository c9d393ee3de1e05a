"""A setting's widget, drawn from its declaration, with its problem directly below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from privlab.config import Problem
from privlab.ui.guard import escape
from privlab.ui.settings import SETTINGS, Setting, offered

#: Arrow step of a fraction that declares none; its default is a small number such as δ = 1e-5.
_FINE_STEP = 1e-6


def by_path(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Messages by the path of their setting."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.path, []).append(problem.message)
    return found


def field(path: str, values: Mapping[str, Any], prefix: str = "") -> None:
    """Draw setting ``path`` in one line: its label with unit and help, and its widget. The draft reads what that says.

    The widget's key is ``prefix`` and the path (CSS class ``st-key-<path with dashes>``). A number is not held to its bounds by the
    widget, which would change it silently: the value reaches the checks, and :func:`show_problems` says what is wrong.
    """
    setting = SETTINGS[path]
    # Streamlit forgets a widget's value when another page is shown; the draft does not.
    if prefix + path not in st.session_state:
        st.session_state[prefix + path] = values[path]
    label, widget = st.columns(_shares(setting), gap="xxsmall", vertical_alignment="center")
    unit = f" :small[:gray[{setting.knob.unit}]]" if setting.knob.unit else ""
    label.markdown(f"{setting.label}{unit}", help=setting.help)
    with widget:
        _widget(setting, offered(path, values), prefix + path)


def _shares(setting: Setting) -> tuple[int, int]:
    """Widths of label and widget: numbers are short, most words for choices are long."""
    return (1, 1) if setting.is_number else (32, 68)


def _widget(setting: Setting, words: Mapping[str, str], key: str) -> None:
    about = {"key": key, "label_visibility": "collapsed"}
    if words:
        st.selectbox(setting.label, list(words), format_func=lambda value: words.get(value, value), **about)
    elif setting.is_number:
        kind = int if setting.is_integer else float
        st.number_input(
            setting.label_and_unit,
            value=None,
            step=kind(setting.knob.step or (1 if setting.is_integer else _FINE_STEP)),
            format=None if setting.is_integer else setting.knob.format,
            placeholder="a number",
            **about,
        )
    else:
        most, hint = (80, "may be empty") if setting.path == "name" else (None, setting.knob.unit)
        st.text_input(setting.label, max_chars=most, placeholder=hint, **about)


def show_problems(path: str, problems: Mapping[str, list[str]]) -> None:
    """Say what is wrong with setting ``path``, if anything."""
    if messages := problems.get(path):
        with st.container(key=f"problem-{path}"):
            for message in messages:
                st.error(escape(message))
