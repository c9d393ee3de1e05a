"""What can go wrong with the store, in plain words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from privlab import paths
from privlab.runs.record import Run

#: A writer waits this long for another one before the store counts as busy, seconds.
BUSY_SECONDS = 15


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message says why and what to do, in plain words."""


class StoreFull(StoreError):
    """No room left on the disk."""


class UnknownRun(StoreError):
    """There is no run of that id."""

    def __init__(self, run_id: str):
        self.run_id = run_id
        super().__init__(
            f"There is no run {run_id!r} here. It may have been deleted, or it belongs to another PrivLab folder."
        )


class UnknownSweep(StoreError):
    """There is no sweep of that id."""

    def __init__(self, sweep_id: str):
        super().__init__(
            f"There is no sweep {sweep_id!r} here. It may have been deleted, or it belongs to another PrivLab folder."
        )


class SweepConflict(StoreError):
    """The sweep is not in a state from which the change is allowed (perhaps since a moment ago)."""


class UnknownClass(StoreError):
    """There is no class session of that id."""

    def __init__(self, class_id: str):
        super().__init__(
            f"There is no class session {class_id!r} here. Ask for the link again; perhaps it belongs to another PrivLab."
        )


class NameTaken(StoreError):
    """Somebody in the session has that name."""

    def __init__(self, name: str):
        super().__init__(f"Somebody here is called {name} already; add a letter.")


class StatusConflict(StoreError):
    """The run is not in a state from which the change is allowed (perhaps since a moment ago)."""

    def __init__(self, run: Run, message: str):
        self.run = run
        super().__init__(message)


class LostRun(StoreError):
    """The run was handed to another worker, or ended by someone else: this worker may write no more."""


def in_words(error: BaseException, path: Path | None, shown: str) -> StoreError:
    """A driver's error as a sentence.

    Args:
        path: the SQLite file; None for PostgreSQL.
        shown: the store's URL without its password.
    """
    said = str(error).strip() or type(error).__name__
    if not path:
        full = getattr(error, "sqlstate", None) == "53100"
        return (StoreFull if full else StoreError)(f"The database {shown} answered: {said}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"The store {path} is damaged ({said}). Move that file away, together with "
            f"{path.name}-wal and {path.name}-shm if they exist, and start again: PrivLab then makes a new, "
            f"empty store. Checkpoints and weights in {paths.runs_dir()} are separate files and are not affected."
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"The disk that holds {path} is full. Free some space and try again; nothing stored is lost.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"The store {path} was held by another process for more than {BUSY_SECONDS} s. Try again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(f"The store {path} cannot be written ({said}). Check the folder's owner and permissions.")
    return StoreError(f"The store {path} failed: {said}.")
