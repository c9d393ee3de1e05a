"""Fetching a data set, a model's weights or a model of one's own in the background of the web process, with the progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from privlab.data.catalogue import DATASETS, availability
from privlab.data.fetch import fetch
from privlab.data.own import is_own
from privlab.data.weights import WEIGHTS, fetch_weights, weights_ready, weights_title
from privlab.models.catalogue import MODELS
from privlab.ui.guard import escape, explain, guarded


class Stopped(Exception):
    """A person stopped the fetch."""


@dataclass
class Fetching:
    """One fetch under way or over. ``error`` is the reason of a failure, in plain words; ``result`` what was brought."""

    dataset: str
    done: int = 0
    total: int | None = None
    what: str = "starting"
    over: bool = False
    error: str | None = None
    result: Any = None
    unwanted: bool = False

    def note(self, done: int, total: int | None, what: str) -> None:
        if self.unwanted:
            raise Stopped
        self.done, self.total, self.what = done, total, what

    def stop(self) -> None:
        """Ends at the next sign of progress, and leaves nothing behind."""
        self.unwanted = True

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
            fetching.result = get(dataset, fetching.note)
        except Stopped:
            forget(dataset)
        except Exception as error:
            fetching.error = explain(error)
        finally:
            fetching.over = True

    threading.Thread(target=work, name=f"fetch-{dataset}", daemon=True).start()
    return fetching


def find(dataset: str) -> Fetching | None:
    return _fetches.get(dataset)


def forget(dataset: str) -> None:
    """What became of the last fetch was taken notice of."""
    _fetches.pop(dataset, None)


def show_availability(dataset: str) -> bool:
    """Below the data set's field: say whether it is here, offer to fetch it, show the progress. Returns whether it is here."""
    facts = DATASETS[dataset]
    about = f"{facts.about} Licence: {facts.licence}."
    return _offer(dataset, facts.title, facts.download_bytes, availability(dataset).ready, about)


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
    return _offer(key, facts.title, facts.download_bytes, missing_weights(model) is None, f"Licence: {facts.licence}.")


def _offer(key: str, title: str, size: int, ready: bool, about: str) -> bool:
    fetching = find(key)
    if fetching and not fetching.over:
        show_progress(key)
        return False
    if ready:
        return True
    failed = fetching is not None and fetching.error is not None
    if failed:
        st.error(escape(fetching.error))
    st.warning(
        f"{escape(title)} is not on this computer yet. It is fetched once (about {size / 1e6:,.0f} MB) and then kept."
    )
    if not failed:
        st.caption(escape(about))
    label = "Try again" if failed else f"Fetch {title}"
    # The data set's button and the model's may stand on the page together.
    st.button(label, key="fetch" if key in DATASETS else "fetch-weights", on_click=start, args=(key,), type="primary")
    return False


@st.fragment(run_every=2)
@guarded()
def show_progress(dataset: str) -> None:
    """How far the fetch under this name is, and a button that stops it; the page is drawn anew when it is over."""
    fetching = find(dataset)
    if fetching is None or fetching.over:
        st.rerun()
    if fetching.unwanted:
        st.caption("Stopping …")
        return
    megabytes = f"{fetching.done / 1e6:,.1f}" + (f" of {fetching.total / 1e6:,.1f} MB" if fetching.total else " MB")
    st.progress(fetching.share or 0.0, text=f"{escape(fetching.what)}: {megabytes}")
    st.button("Stop", key=f"stop-{dataset}", icon=":material/stop:", on_click=fetching.stop)
