"""Fetching a data set in the background of the web process, with its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import fetch
from privlab.ui.guard import escape, explain, guarded


@dataclass
class Fetching:
    """One fetch under way or over. ``error`` is the reason of a failure, in plain words."""

    dataset: str
    done: int = 0
    total: int | None = None
    what: str = "starting"
    over: bool = False
    error: str | None = None

    def note(self, done: int, total: int | None, what: str) -> None:
        self.done, self.total, self.what = done, total, what

    @property
    def share(self) -> float | None:
        """Part done, 0…1, or None while the size is unknown."""
        return min(self.done / self.total, 1.0) if self.total else None


#: One for the process, so that every tab sees the same fetch and a closed one does not end it.
_fetches: dict[str, Fetching] = {}
_lock = threading.Lock()


def start(dataset: str, get: Callable = fetch) -> Fetching:
    """Begin to fetch ``dataset``, unless that is under way already."""
    with _lock:
        present = _fetches.get(dataset)
        if present and not present.over:
            return present
        fetching = _fetches[dataset] = Fetching(dataset)

    def work() -> None:
        try:
            get(dataset, fetching.note)
        except Exception as error:
            fetching.error = explain(error)
        finally:
            fetching.over = True

    threading.Thread(target=work, name=f"fetch-{dataset}", daemon=True).start()
    return fetching


def find(dataset: str) -> Fetching | None:
    return _fetches.get(dataset)


def show_availability(dataset: str) -> bool:
    """Below the data set's field: say whether it is here, offer to fetch it, show the progress. Returns whether it is here."""
    fetching = find(dataset)
    if fetching and not fetching.over:
        _progress(dataset)
        return False
    if availability(dataset).ready:
        return True
    facts = DATASETS[dataset]
    if fetching and fetching.error:
        st.error(escape(fetching.error))
    size = f"about {facts.download_bytes / 1e6:,.0f} MB"
    st.warning(f"{escape(facts.title)} is not on this computer yet. It is fetched once ({size}) and then kept.")
    label = "Try again" if fetching and fetching.error else f"Fetch {facts.title}"
    st.button(label, key="fetch", on_click=start, args=(dataset,), type="primary")
    return False


@st.fragment(run_every=2)
@guarded()
def _progress(dataset: str) -> None:
    fetching = find(dataset)
    if fetching is None or fetching.over:
        st.rerun()
    megabytes = f"{fetching.done / 1e6:,.1f}" + (f" of {fetching.total / 1e6:,.1f} MB" if fetching.total else " MB")
    st.progress(fetching.share or 0.0, text=f"{escape(fetching.what)}: {megabytes}")
