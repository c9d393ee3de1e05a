"""The page's view in the address, and fields that show it and change it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import streamlit as st

from privlab.ui.compare.view import PARAMETERS, View
from privlab.ui.urls import MOST_RUNS


def view() -> View:
    """What the address asks for; see :func:`problems` for what it asks in vain."""
    return View.read(st.query_params)[0]


def problems() -> tuple[str, ...]:
    """A sentence for each address parameter that says nothing."""
    return View.read(st.query_params)[1]


def change(**fields: Any) -> None:
    """Look at something else from now on: rewrites the address. Other parameters than the page's own stay."""
    wanted = replace(view(), **fields).parameters()
    for name in PARAMETERS:
        if name not in wanted:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != wanted[name]:
            st.query_params[name] = wanted[name]


def choose(ids: Iterable[str]) -> None:
    """Add ``ids`` to the chosen runs; the first ones give way where they are too many."""
    change(runs=tuple(dict.fromkeys((*view().runs, *ids)))[-MOST_RUNS:])


def unchoose(ids: Iterable[str]) -> None:
    """Take ``ids`` out of the chosen runs."""
    gone = set(ids)
    change(runs=tuple(run for run in view().runs if run not in gone))


def shows(field: str, key: str, value: Any, scale: float = 1) -> dict[str, Any]:
    """Arguments of a widget that shows ``value`` and writes what a person makes of it into ``field`` of the view.

    The address is where the value lives: whatever changes it, a link or the back button, changes the widget too. ``scale``:
    100 for a field in per cent of a share.
    """
    if scale != 1 and value is not None:
        value = float(f"{scale * value:.6g}")
    # Not set where it says so already: that would take from a person what is typed and not yet entered.
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value
    return {"key": key, "on_change": _take, "args": (field, key, scale)}


def _take(field: str, key: str, scale: float) -> None:
    value = st.session_state[key]
    empty = getattr(View(), field)
    if value is None:
        value = empty
    elif isinstance(empty, tuple):
        value = tuple(value)
    elif isinstance(empty, float):
        value = float(value) / scale
    change(**{field: value})


def number(value: float) -> float | None:
    """A view's number for a field: None where there is none."""
    return None if math.isnan(value) else value
