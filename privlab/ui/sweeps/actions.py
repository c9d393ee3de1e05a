"""What one sweep is, and what may be done to it."""

from __future__ import annotations

import streamlit as st

from privlab.analysis.settings import SETTINGS
from privlab.sweeps import control
from privlab.sweeps.results import Standing
from privlab.ui import labels, urls
from privlab.ui.access import store
from privlab.ui.guard import attempted, escape, explain
from privlab.ui.sweeps import words

_BUTTONS = (
    ("pause", "Pause", "Launches no more; what trains pauses after its present batch.", control.pause),
    ("resume", "Resume", "Goes on where it was.", control.resume),
    (
        "stop",
        "Stop",
        "Launches no more; what trains stops after its present batch. What was found stays.",
        control.stop,
    ),
)


def header(now: Standing) -> None:
    """Its name and settings, and a button for each thing that may be done now."""
    sweep, spec = now.sweep, now.spec
    title, buttons = st.columns([3, 2], vertical_alignment="center")
    title.title(escape(sweep.name), anchor=False)
    with buttons, st.container(horizontal=True, gap="small", horizontal_alignment="right", key="sweep-buttons"):
        allowed = control.actions(sweep)
        for action, label, help, act in _BUTTONS:
            if action in allowed:
                st.button(label, key=f"sweep-{action}", help=help, on_click=_act, args=(act, sweep.id))
        if "extend" in allowed:
            with st.popover("Extend", help="More combinations, more seeds, or a larger budget."):
                _extend(now)
        if "delete" in allowed:
            st.button(
                "Forget",
                key="sweep-delete",
                help="Takes the sweep out of the list. Its runs stay, and count in the ledger.",
                on_click=_forget,
                args=(sweep.id,),
            )
        st.button(
            "All sweeps",
            key="sweep-all",
            type="tertiary",
            on_click=urls.show_sweep,
            args=(None,),
            help="Back to the list.",
        )
    varied = ", ".join(SETTINGS[path].label for path in spec.space.paths)
    st.markdown(
        f"{words.state(sweep)} · {escape(words.method(spec.method))} over {escape(varied)} · "
        f"{spec.seeds} seed{'s' * (spec.seeds > 1)} each · sweep `{sweep.id}`, begun {labels.clock(sweep.created)}"
    )
    if sweep.reason:
        st.caption(escape(sweep.reason))


def _act(act, sweep_id: str) -> None:
    with attempted():
        act(store(), sweep_id)


def _forget(sweep_id: str) -> None:
    with attempted():
        control.delete(store(), sweep_id)
        urls.show_sweep(None)


def _extend(now: Standing) -> None:
    spec, asked = now.spec, {}
    if spec.trials is not None:
        asked["trials"] = st.number_input("More combinations", min_value=0, value=0, step=5, key="extend-trials")
    asked["seeds"] = st.number_input(
        "More seeds for each",
        min_value=0,
        value=0,
        step=1,
        key="extend-seeds",
        help="Trains every combination again with new seeds.",
    )
    for name, label, step in (
        ("runs", "More runs in the budget", 10),
        ("hours", "More hours in the budget", 1.0),
        ("epsilon", "More ε in the budget", 1.0),
    ):
        if getattr(spec.budget, name) is not None:
            asked[name] = st.number_input(
                label, min_value=type(step)(0), value=type(step)(0), step=step, key=f"extend-{name}"
            )
    if any(asked.values()):
        try:
            longer = control.extension(
                spec, **{"trials": 0, "seeds": 0, "runs": 0, "hours": 0.0, "epsilon": 0.0} | asked
            )
        except ValueError as error:
            st.error(escape(explain(error)))
            return
        st.markdown(f"The sweep would come to **{longer.most_runs:,}** runs at most instead of {spec.most_runs:,}.")
    st.caption("Made longer because of what was found, the search costs more than the ledger can prove.")
    st.button(
        "Extend",
        key="confirm-extend",
        type="primary",
        disabled=not any(asked.values()),
        on_click=_act,
        args=(lambda here, sweep_id: control.extend(here, sweep_id, **asked), now.sweep.id),
    )
