"""Which runs a key opens: files say which key they need, the store says whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from privlab import paths
from privlab.encryption.keybook import DEFAULT
from privlab.runs.record import Run, Status
from privlab.runs.store import Store


@dataclass(frozen=True)
class KeyUse:
    """What depends on a key.

    Attributes:
        runs: newest first, runs of the store that have sealed files of it; deleted ones too, until they are removed.
        waiting: runs without a sealed file yet whose settings name it, and which may still start.
        others: sealed files of it that belong to no run of this store.
    """

    runs: tuple[Run, ...]
    waiting: tuple[Run, ...]
    others: tuple[Path, ...]


def key_uses(store: Store, files: Mapping[str, Iterable[Path]]) -> dict[str, KeyUse]:
    """Whose the sealed ``files`` are, by the name of their key. Raises StoreError."""
    known = {run.id: run for run in store.list(deleted=None)}
    return {name: _use(known, name, list(each)) for name, each in files.items()}


def _use(known: dict[str, Run], name: str, files: list[Path]) -> KeyUse:
    home = paths.runs_dir()
    owners = {path: path.relative_to(home).parts[0] if path.is_relative_to(home) else "" for path in files}
    runs = set(owners.values()) & set(known)
    over = (Status.FINISHED, Status.FAILED)
    waiting = [
        run
        for run in known.values()
        if run.id not in runs and run.deleted is None and run.status not in over and key_of(run) == name
    ]
    newest = tuple(run for run in known.values() if run.id in runs)
    return KeyUse(newest, tuple(waiting), tuple(p for p, run_id in owners.items() if run_id not in known))


def key_of(run: Run) -> str | None:
    """Name of the key that the run's settings ask for; None where there is none, or a passphrase opens the files directly."""
    given = run.config.encryption
    if given.mode == "none" or (given.key == "passphrase" and not given.key_name):
        return None
    return given.key_name or DEFAULT
