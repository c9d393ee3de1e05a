"""What is looked at, kept in the address: ``?run=ID`` and ``?runs=A,B,C``."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

#: More runs than this in one chart cannot be told apart, and the live panel draws no more.
MOST_RUNS = 60


def run_id() -> str | None:
    """The run named in the address, or None."""
    return st.query_params.get("run", "").strip() or None


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
