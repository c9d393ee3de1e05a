"""What is looked at, kept in the address: ``?run=ID``, ``?runs=A,B,C`` and ``?sweep=ID``, with ``&pick=`` for a part of it."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

#: More runs than this in one chart cannot be told apart, and the live panel draws no more.
MOST_RUNS = 60


def run_id() -> str | None:
    """The run named in the address, or None."""
    return st.query_params.get("run", "").strip() or None


def sweep_id() -> str | None:
    """The sweep named in the address, or None."""
    return st.query_params.get("sweep", "").strip() or None


def sweep_from() -> str | None:
    """The preset or run that a new sweep starts from, or None where no new one is looked at."""
    return st.query_params.get("from", "").strip() or None


def picked() -> str | None:
    """The cell of a sweep's map, or the run of its front, that is looked at closely; None for neither."""
    return st.query_params.get("pick") or None


def pick(key: str | None) -> None:
    """Look closely at a cell or a run; None is all again."""
    if key is None:
        st.query_params.pop("pick", None)
    else:
        st.query_params["pick"] = key


def name_sweep(sweep_id: str) -> None:
    """See that the address names the sweep on the page: a link from the list of sweeps, which is the same page, leaves it out."""
    st.query_params["sweep"] = sweep_id


def show_sweep(sweep_id: str | None, start: str | None = None) -> None:
    """Name a sweep in the address, or what a new one starts from; neither is the list of all."""
    st.query_params.from_dict({name: value for name, value in (("sweep", sweep_id), ("from", start)) if value})


def run_ids() -> tuple[str, ...]:
    """The runs named in the address, each once, in their order there."""
    named = (part.strip() for part in st.query_params.get("runs", "").split(","))
    return tuple(dict.fromkeys(part for part in named if part))[:MOST_RUNS]


def show_runs(ids: Iterable[str]) -> None:
    """Name ``ids`` in the address; the oldest named give way beyond :data:`MOST_RUNS`."""
    kept = list(dict.fromkeys(ids))[-MOST_RUNS:]
    if kept:
        st.query_params["runs"] = ",".join(kept)
    else:
        st.query_params.pop("runs", None)


def pin(*ids: str) -> None:
    show_runs((*run_ids(), *ids))


def unpin(run_id: str) -> None:
    show_runs(each for each in run_ids() if each != run_id)
