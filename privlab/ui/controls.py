"""Buttons for what a person may do to a run."""

from __future__ import annotations

import streamlit as st

from privlab.privacy import epsilon_curve
from privlab.runs import control
from privlab.runs.record import Run
from privlab.ui import sitemap, urls
from privlab.ui.access import store
from privlab.ui.draft import fill
from privlab.ui.guard import attempted, escape, explain
from privlab.ui.passphrase import passphrase_field, take

#: Words and one sentence of help for each simple action.
_SIMPLE = {
    "pause": ("Pause", "Stops at the end of the present batch and keeps everything; resume goes on from there."),
    "resume": ("Resume", "Goes on from the last checkpoint with the same ε, sampler and optimiser state."),
    "stop": ("Stop", "Ends at the end of the present batch and keeps the results so far."),
}
_CLONE = "cloned-run"


def _phrase_key(run: Run, action: str) -> str:
    return f"{action}-passphrase-{run.id}"


def _act(action: str, run: Run, *more: float) -> None:
    """Callback: do ``action``; a refusal is shown as a notice."""
    secret = {"passphrase": take(_phrase_key(run, action))} if action in ("resume", "extend", "raise_noise") else {}
    with attempted():
        getattr(control, action)(store(), run.id, *more, **secret)


def _clone(run: Run) -> None:
    fill(control.clone_config(run))
    st.session_state[_CLONE] = True


def controls(run: Run, *, compact: bool = False) -> None:
    """The buttons that are open for ``run`` as it is; ``compact`` leaves out extend and clone."""
    allowed = control.actions(run)
    width = "content" if compact else "stretch"
    with st.container(
        key=f"controls-{run.id}", horizontal=True, width=width, gap="small", horizontal_alignment="right"
    ):
        for action, (label, help) in _SIMPLE.items():
            if action not in allowed:
                continue
            if action == "resume" and run.needs_passphrase and not run.status.is_active:
                with st.popover(label, help=help):
                    passphrase_field(_phrase_key(run, action))
                    _button(action, run, label, help, key=f"confirm-resume-{run.id}")
            else:
                _button(action, run, label, help)
        if not compact:
            if "extend" in allowed:
                with st.popover("Extend", help="Trains more epochs with the same noise; ε grows."):
                    _extend(run)
            if "raise_noise" in allowed:
                with st.popover("Raise σ", help="Goes on with more noise, so that the privacy budget lasts longer."):
                    _raise_noise(run)
            st.button(
                "Clone", key=f"clone-{run.id}", on_click=_clone, args=(run,), help="Opens these settings in the Lab."
            )
        if "delete" in allowed:
            _button("delete", run, "Delete", "Hides the run; you can bring it back.")
    # A callback cannot switch pages.
    if st.session_state.pop(_CLONE, False):
        st.switch_page(sitemap.lab())


def _button(action: str, run: Run, label: str, help: str, key: str | None = None) -> None:
    st.button(label, key=key or f"{action}-{run.id}", help=help, on_click=_act, args=(action, run))


def _extend(run: Run) -> None:
    epochs = st.number_input(
        "More epochs", value=max(1, run.config.training.epochs // 2), step=1, key=f"extend-epochs-{run.id}"
    )
    try:
        plan = control.extension(run, epochs).plan
    except ValueError as error:
        st.error(escape(explain(error)))
        return
    if plan.is_private:
        present, later = (float(epsilon_curve(p, [p.steps])[0]) for p in (run.plan, plan))
        st.markdown(
            f"The run would end at **ε = {later:.3f}** instead of {present:.3f}, "
            f"after {plan.steps:,} steps instead of {run.steps:,}. The noise stays σ = {plan.noise_multiplier:.4g}."
        )
    else:
        st.markdown(f"The run would end after {plan.steps:,} steps instead of {run.steps:,}; ε stays ∞.")
    if run.needs_passphrase:
        passphrase_field(_phrase_key(run, "extend"))
    st.button(
        f"Extend by {epochs} epochs",
        key=f"confirm-extend-{run.id}",
        type="primary",
        on_click=_act,
        args=("extend", run, epochs),
    )


def _raise_noise(run: Run) -> None:
    present = run.plan.noise_multiplier_at(run.step)
    sigma = st.number_input(
        "Noise multiplier σ from the next step on",
        value=float(f"{1.25 * present:.3g}"),
        step=0.1,
        format="%.4g",
        key=f"raise-noise-{run.id}",
        help=f"More than the present σ = {present:.4g}. ε counts every step with its own σ.",
    )
    try:
        plan = control.with_more_noise(run, sigma).plan
    except ValueError as error:
        st.error(escape(explain(error)))
        return
    st.markdown(
        f"The run would end at **ε = {plan.epsilon:.3f}** after {plan.steps:,} steps, instead of "
        f"{run.plan.epsilon:.3f} after {run.steps:,}."
    )
    st.caption(
        "Decide this from the public budget alone. A choice that looks at private diagnostics, such as the training loss, "
        "is not covered by ε."
    )
    if run.needs_passphrase:
        passphrase_field(_phrase_key(run, "raise_noise"))
    st.button(
        f"Go on with σ = {sigma:.4g}",
        key=f"confirm-raise-noise-{run.id}",
        type="primary",
        on_click=_act,
        args=("raise_noise", run, sigma),
    )


def undo_delete(run: Run) -> None:
    """Say that ``run`` is deleted and offer to bring it back."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"deleted-{run.id}"):
        st.markdown(f"**{escape(run.name or run.id)}** is deleted.")
        _button("undelete", run, "Undo", "Brings the run back with everything it had.")


def pin_button(run: Run, pinned: bool) -> None:
    """Put the run's curve into the chart, or take it out."""
    if pinned:
        st.button(
            "Unpin", key=f"pin-{run.id}", on_click=urls.unpin, args=(run.id,), help="Takes its curve out of the chart."
        )
    else:
        st.button("Pin", key=f"pin-{run.id}", on_click=urls.pin, args=(run.id,), help="Draws its curve in the chart.")
