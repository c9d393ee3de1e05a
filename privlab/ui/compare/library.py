"""All runs as what comparing knows of them, read anew only where something changed."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from privlab.analysis.facts import Facts
from privlab.runs.record import Annotation, Run
from privlab.runs.store import Store

_UNSAID = Annotation()


@dataclass(frozen=True, eq=False)
class Entry:
    """One run: as the store holds it, as comparing knows it, and what a person says about it."""

    run: Run
    facts: Facts
    said: Annotation

    @property
    def id(self) -> str:
        return self.run.id


class Library:
    """The runs of one store, newest first. Entries of unchanged runs are the same objects each time. Safe between threads."""

    def __init__(self, store: Store):
        self._store = store
        self._lock = threading.Lock()
        self._version: str | None = None
        self._entries: dict[str, Entry] = {}

    def entries(self) -> dict[str, Entry]:
        """Every run that is not deleted, by id. Costs one look at the store's version where nothing changed. Raises StoreError."""
        with self._lock:
            version = self._store.version()
            if version != self._version:
                self._entries = self._read()
                # Taken before the runs were read: a change in between is read again, never missed.
                self._version = version
            return self._entries

    def _read(self) -> dict[str, Entry]:
        said, void = self._store.annotations(), self._store.void()
        known, found = self._entries, {}
        for run in self._store.list():
            before, now = known.get(run.id), said.get(run.id, _UNSAID)
            same = before and before.run is run and before.said == now and before.facts.void == (run.id in void)
            found[run.id] = before if same else _entry(run, now, run.id in void)
        return found

    def with_curves(self, entries: Iterable[Entry]) -> list[Facts]:
        """Facts with the points along the way; for the few runs that are looked at closely."""
        return [replace(entry.facts, curve=self._store.columns(entry.id)) for entry in entries]


def _entry(run: Run, said: Annotation, void: bool) -> Entry:
    return Entry(run, Facts.of(run, void=void, tags=said.tags, notes=said.note), said)


@lru_cache(maxsize=4)
def library(store: Store) -> Library:
    """The one library of ``store`` in this process."""
    return Library(store)
