"""Passphrases of runs that wait for a worker: in this process's memory only, and only until the worker has them."""

from __future__ import annotations

_waiting: dict[str, str] = {}


def keep(run_id: str, passphrase: str) -> None:
    _waiting[run_id] = passphrase


def recall(run_id: str) -> str | None:
    return _waiting.get(run_id)


def forget(run_id: str) -> None:
    _waiting.pop(run_id, None)
