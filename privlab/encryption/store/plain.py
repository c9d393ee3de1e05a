"""The plain store: float64 parameters in this process. What the others are compared with."""

from __future__ import annotations

import numpy as np

from privlab.encryption.store.checks import Turns, checked_vector
from privlab.encryption.store.contract import StoreError, Traffic


class PlainStore:
    """A :class:`~privlab.encryption.store.contract.ParameterStore` without a server and without encryption."""

    mode = "plain"
    server_pid = None

    def __init__(self, dimension: int, owners: int = 1):
        self.dimension, self.owners = dimension, owners
        self.traffic = Traffic()
        self._turns = Turns(owners)
        self._state: np.ndarray | None = None
        self._pending: np.ndarray | None = None
        self._closed = False

    @property
    def revision(self) -> int:
        return self._turns.revision

    def put(self, vector: np.ndarray, revision: int) -> None:
        self._need_open()
        values = checked_vector(vector, self.dimension)
        self._turns.restart(revision)
        self._state, self._pending = values.copy(), None

    def open(self) -> np.ndarray:
        self._need_open()
        self._turns.need_state()
        return self._state.copy()

    def contribute(self, owner: int, update: np.ndarray, revision: int) -> None:
        self._need_open()
        self._turns.check(owner, revision)
        values = checked_vector(update, self.dimension)
        self._turns.give(owner, revision)
        self._pending = values.copy() if self._pending is None else self._pending + values

    def commit(self, revision: int) -> None:
        self._need_open()
        self._turns.commit(revision)
        self._state, self._pending = self._state + self._pending, None

    def raw(self, most: int = 1 << 16) -> bytes:
        self._need_open()
        self._turns.need_state()
        return self._state[: -(-most // 8)].tobytes()[:most]

    def server_memory(self) -> int:
        return 0

    def close(self) -> None:
        self._closed, self._state, self._pending = True, None, None

    def _need_open(self) -> None:
        if self._closed:
            raise StoreError("This store is closed.")
