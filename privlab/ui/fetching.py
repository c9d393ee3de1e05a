"""Fetching a data set or a model's weights in the background of the web process, with the progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import fetch
from privlab.data.own import is_own
from privlab.data.weights import WEIGHTS, fetch_weights, weights_ready, weights_title
from privlab.models.catalogue import MODELS
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


def start(dataset: str, get: Callable | None = None) -> Fetching:
    """Begin to fetch a data set, or weights, unless that is under way already."""
    get = get or (fetch_weights if dataset in WEIGHTS else fetch)
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
    facts = DATASETS[dataset]
    return _offer(dataset, facts.title, facts.download_bytes, availability(dataset).ready)


def missing_weights(model: str) -> str | None:
    """Title of the weights that the model starts from, where they are not on this computer."""
    key = MODELS[model].weights if model in MODELS else None
    return None if key is None or weights_ready(key) else weights_title(key)


def show_weights(model: str) -> bool:
    """Below the model's field: the same for the weights that it starts from, where it has any."""
    key = MODELS[model].weights if model in MODELS else None
    if key is None or is_own(key):
        return True
    facts = WEIGHTS[key]
    return _offer(key, facts.title, facts.download_bytes, missing_weights(model) is None)


def _offer(key: str, title: str, size: int, ready: bool) -> bool:
    fetching = find(key)
    if fetching and not fetching.over:
        _progress(key)
        return False
    if ready:
        return True
    if fetching and fetching.error:
        st.error(escape(fetching.error))
    st.warning(
        f"{escape(title)} is not on this computer yet. It is fetched once (about {size / 1e6:,.0f} MB) and then kept."
    )
    label = "Try again" if fetching and fetching.error else f"Fetch {title}"
    # The data set's button and the model's may stand on the page together.
    st.button(label, key="fetch" if key in DATASETS else "fetch-weights", on_click=start, args=(key,), type="primary")
    return False


@st.fragment(run_every=2)
@guarded()
def _progress(dataset: str) -> None:
    fetching = find(dataset)
    if fetching is None or fetching.over:
        st.rerun()
    megabytes = f"{fetching.done / 1e6:,.1f}" + (f" of {fetching.total / 1e6:,.1f} MB" if fetching.total else " MB")
    st.progress(fetching.share or 0.0, text=f"{escape(fetching.what)}: {megabytes}")
