"""Launching runs that an answer asks for, once however often the button is pressed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import streamlit as st

from privlab.config import RunConfig
from privlab.preflight import preflight
from privlab.runs import control
from privlab.runs.record import Run
from privlab.ui.access import store
from privlab.ui.compare import state
from privlab.ui.guard import attempted

_SAID = "compare-launched"


def launch_button(label: str, configs: Sequence[RunConfig], why: str, key: str) -> None:
    """A button that queues ``configs`` and chooses the new runs. ``why`` is what they are missing for: the same answer launches
    nothing twice."""
    st.button(label, key=key, type="primary", on_click=_launch, args=(tuple(configs), why))


def show_launched() -> None:
    """Say, once, what the last press launched."""
    if said := st.session_state.pop(_SAID, None):
        st.success(said)


def _launch(configs: tuple[RunConfig, ...], why: str) -> None:
    with attempted():
        for config in configs:
            # All are checked before any is stored.
            preflight(config)
        ids = [_once(config, why).id for config in configs]
        state.choose(ids)
        words = "One run is" if len(ids) == 1 else f"{len(ids)} runs are"
        st.session_state[_SAID] = (
            f"{words} in the queue and chosen. This answer grows with them; judge when all have ended."
        )


def _once(config: RunConfig, why: str) -> Run:
    told = hashlib.sha256(f"{why}\0{config.to_json()}".encode()).hexdigest()[:32]
    run = control.launch(store(), config, launch_key=f"compare:{told}")
    # One that was launched for this before, and deleted since, is not what is asked for.
    return run if run.deleted is None else _once(config, f"{why}\0{run.id}")
