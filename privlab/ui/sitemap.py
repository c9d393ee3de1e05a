"""The pages and how to get to them. Made anew in each script run, as Streamlit wants them."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from privlab import paths

_FOLDER = paths.SOURCE / "pages"


def lab() -> st.Page:
    """The Lab, at the root of the site."""
    return st.Page(_FOLDER / "lab.py", title="Lab", default=True)


def run() -> st.Page:
    return st.Page(_FOLDER / "run.py", title="Run", url_path="run")


def compare() -> st.Page:
    return st.Page(_FOLDER / "compare.py", title="Compare", url_path="compare")


def sweeps() -> st.Page:
    return st.Page(_FOLDER / "sweeps.py", title="Sweeps", url_path="sweeps")


def budget() -> st.Page:
    return st.Page(_FOLDER / "budget.py", title="Budget", url_path="budget")


def ledger() -> st.Page:
    return st.Page(_FOLDER / "ledger.py", title="Ledger", url_path="ledger")


def encryption() -> st.Page:
    return st.Page(_FOLDER / "encryption.py", title="Encryption", url_path="encryption")


def classroom() -> st.Page:
    return st.Page(_FOLDER / "class.py", title="Class", url_path="class")


def link_to_ledger(label: str = "Ledger of all runs on this data set") -> None:
    st.page_link(ledger(), label=label)


def link_to_run(run_id: str, label: str, help: str | None = None) -> None:
    """A link to the page of one run."""
    st.page_link(run(), label=label, query_params={"run": run_id}, help=help)


def link_to_compare(run_ids: Iterable[str], label: str) -> None:
    """A link to the comparison of some runs; of none, to the table of all."""
    chosen = ",".join(run_ids)
    st.page_link(compare(), label=label, query_params={"runs": chosen} if chosen else None)


def link_to_sweep(sweep_id: str, label: str, help: str | None = None) -> None:
    """A link to one sweep."""
    st.page_link(sweeps(), label=label, query_params={"sweep": sweep_id}, help=help)


def link_to_new_sweep(start: str, label: str) -> None:
    """A link to the form of a new sweep around the settings of a run or a preset."""
    st.page_link(sweeps(), label=label, query_params={"from": start})


def link_to_lab(label: str = "Go to the Lab") -> None:
    st.page_link(lab(), label=label)
