"""What a parameter store promises: the one contract behind which parameters are plain, or are kept as ciphertext by a server.

A step of training with a store is::

    parameters = store.open()                       # the state of revision r, decrypted
    for owner in range(store.owners):
        store.contribute(owner, update, r + 1)      # encrypted by the owner, sent
    store.commit(r + 1)                             # the server adds the sum of all contributions, or nothing
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class StoreError(Exception):
    """A store that refuses or fails, in plain words. The last committed state stays valid unless the message says it is lost."""


@dataclass
class Traffic:
    """What a store has cost since it was opened.

    Args:
        sent: bytes that went to the server, framing and authentication included.
        received: bytes that came from the server.
        seconds: wall-clock seconds by phase. ``encrypt``: rounding, encryption and sealing by the client; ``transfer``: sending, and
            waiting for the server with its sums; ``decrypt``: unsealing, checks and decryption by the client.
    """

    sent: int = 0
    received: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"encrypt": 0.0, "transfer": 0.0, "decrypt": 0.0})

    def copy(self) -> Traffic:
        """The counts of now, to be subtracted from later ones."""
        return Traffic(self.sent, self.received, dict(self.seconds))


class ParameterStore(Protocol):
    """Parameters of one run, float64 vectors of fixed length, kept from one step to the next.

    Every method raises StoreError in plain words. After a refused ``contribute`` or ``commit`` the state of the last commit is still
    there: ``open()`` returns it, and ``put(open(), revision)`` starts afresh from it. After a failed connection the store is lost, and a
    new one goes on from the last checkpoint by ``put``.
    """

    mode: str  # "plain", "bfv", "ckks" or "pad"
    dimension: int
    owners: int
    traffic: Traffic
    server_pid: int | None  # the server's process on this machine; None if there is none, or elsewhere

    @property
    def revision(self) -> int:
        """The revision of the state that ``open`` returns; -1 before the first ``put``."""

    def put(self, vector: np.ndarray, revision: int) -> None:
        """Encrypt ``vector`` (d,) and hand it over as the state at ``revision``: 0 at the start, the step's number on resume.

        Contributions that were not committed are dropped, and all later ciphertexts are made under fresh pads.
        """

    def open(self) -> np.ndarray:
        """Fetch the state, check it and decrypt it: exactly what is stored, (d,) float64."""

    def contribute(self, owner: int, update: np.ndarray, revision: int) -> None:
        """Encrypt the ``update`` (d,) of ``owner`` for the step that makes ``revision``, and hand it over.

        Refused: an owner beyond ``owners``, a second update of one owner, a revision that is not the next one, NaN or infinity, and values
        beyond what the scheme can hold.
        """

    def commit(self, revision: int) -> None:
        """Let the server add the contributions of all owners. Refused, with nothing changed, while one of them is missing."""

    def raw(self, most: int = 1 << 16) -> bytes:
        """The first ``most`` bytes of the state as the server holds it."""

    def server_memory(self) -> int:
        """The most memory that the server has held so far, in bytes; 0 without a server."""

    def close(self) -> None:
        """End the server process or the connection; the store holds nothing afterwards. Harmless when called again."""
