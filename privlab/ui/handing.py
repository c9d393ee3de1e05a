"""Buttons for what a person hands on of runs: a report, and a program that repeats a run without PrivLab."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from privlab.preflight import missing_inputs
from privlab.reports.pdf import chromium, to_pdf
from privlab.reports.program.expressible import not_expressible
from privlab.reports.program.files import file_name, notebook_file, script_file
from privlab.reports.program.script import travelling
from privlab.runs.record import Run
from privlab.ui import labels
from privlab.ui.access import store
from privlab.ui.guard import escape
from privlab.ui.report import report
from privlab.ui.tracking import send_button

#: Media type of Parquet files.
PARQUET = "application/vnd.apache.parquet"
_PRINT = "To make a PDF, open it in a browser and choose Print, then Save as PDF."


def hand_on(run: Run) -> None:
    """Report, script and notebook of one run; or why a script cannot say what it did."""
    with st.container(horizontal=True, gap="small", key="hand-on"):
        report_buttons([run], f"privlab-{run.id}")
        reasons = _reasons(run)
        if not reasons:
            _program_buttons(run)
        send_button(run)
    if reasons:
        st.caption(escape(f"No script of its own with plain Opacus: {' '.join(reasons)}"))


def report_buttons(runs: Sequence[Run], name: str) -> None:
    """The report of ``runs``, nothing of which is made before a person asks for it."""

    def page() -> str:
        now = [store().get(run.id) for run in runs]
        return report(store(), now, names=labels.names(now), looks=labels.looks(now))

    st.download_button(
        "Report, HTML", page, file_name=f"{name}-report.html", mime="text/html", on_click="ignore", key="download-report",
        help="Charts, claims, settings and self-checks in one file that needs no network and prints well."
        f"{'' if chromium() else f' {_PRINT}'}",
    )  # fmt: skip
    if chromium():
        st.download_button(
            "Report, PDF", lambda: to_pdf(page()), file_name=f"{name}-report.pdf", mime="application/pdf", on_click="ignore",
            key="download-pdf", help="The report, printed by the Chromium that is installed here. Takes some seconds.",
        )  # fmt: skip


def _reasons(run: Run) -> tuple[str, ...]:
    reasons = not_expressible(run, store().events(run.id))
    if reasons or not travelling(run):
        return reasons
    # Its inputs are written here, from the records and from the weights that make their features.
    return tuple(problem.message for problem in missing_inputs(run.config.data.dataset, run.config.model.name))


def _program_buttons(run: Run) -> None:
    how = "Plain PyTorch and Opacus: the same network, sampling, clipping, noise and steps, and ε by dp-accounting. Needs no PrivLab."
    if travelling(run):
        how += " A zip with the inputs beside it, since no public source has these records; it takes some seconds."

    def made(kind: str) -> bytes:
        now, events = store().get(run.id), store().events(run.id)
        if kind == "py":
            return script_file(now, events)[1]
        return notebook_file(now, events, store().points(run.id))[1]

    for kind, label in (("py", "Script with plain Opacus"), ("ipynb", "Jupyter notebook")):
        st.download_button(
            label, lambda kind=kind: made(kind), file_name=file_name(run, kind), on_click="ignore", key=f"download-{kind}",
            mime="application/zip" if travelling(run) else "text/x-python" if kind == "py" else "application/x-ipynb+json",
            help=how,
        )  # fmt: skip
