"""A button that sends a run to an MLflow server, where the environment names one."""

from __future__ import annotations

import subprocess
import sys

import streamlit as st

from privlab import paths
from privlab.reports.tracking import not_ready, tracking
from privlab.runs.record import Run
from privlab.ui.guard import escape, refuse

_DONE = "sent-to-mlflow"
#: Longest that a person waits for a server, seconds.
_LIMIT = 120


def send_button(run: Run) -> None:
    """Nothing where no server is named; the button is dead, and says why, where its package is missing."""
    if tracking() is None:
        return
    why = not_ready()
    help = why or (
        f"Settings, points and claim go to {tracking()}; private diagnostics and timings stay here. Sending again adds what is new."
    )
    st.button(
        "Send to MLflow", key=f"mlflow-{run.id}", on_click=_send, args=(run.id,), disabled=bool(why), help=escape(help)
    )
    if done := st.session_state.pop(_DONE, None):
        st.toast(escape(done), icon=":material/check:", duration="long")


def _send(run_id: str) -> None:
    """In a process of its own: MLflow is heavy to load, and a server that hangs must not hold up the page."""
    command = [sys.executable, "-m", "privlab", "export-mlflow", run_id]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, cwd=paths.SOURCE)
    except subprocess.TimeoutExpired:
        return refuse(f"Run {run_id} was not sent: {tracking()} did not answer in {_LIMIT} seconds.")
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return refuse(said[-1])
    st.session_state[_DONE] = done.stdout.strip().splitlines()[-1]
