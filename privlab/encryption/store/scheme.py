"""What the encrypted stores have in common: vectors cut into chunks, pads, and a secret checksum that survives adding.

The server adds ciphertexts that it cannot read, so it could add something else, or keep a damaged sum, and nobody would see it from the
ciphertext. Each chunk therefore carries T = Σ wⱼ·vⱼ mod 2⁶⁴ of its encoded values v, with 64-bit weights w and one-time pads from
the owners' key. Checksums add like the values do, so the sum's checksum can be checked after decryption. A sum that was changed by δ ≠ 0 with
|δⱼ| ≤ 2³² passes with probability at most 2⁻³² (the ring MAC of SPDZ2k, Cramer et al. 2018, section 3): the same holds for a wrong key and for a
sum that wrapped around the range of fixed point.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.keystream import STATE, Pads

#: Values in a chunk: one frame, authenticated by itself. As float64 it fits a processor's cache, which halves the masked store's time.
CHUNK = 1 << 15
CHECKSUM = struct.Struct("<Q")


def chunks_of(dimension: int) -> int:
    """How many chunks a vector has."""
    return -(-dimension // CHUNK)


def chunk_size(dimension: int, index: int) -> int:
    """How many values chunk ``index`` has."""
    return min(CHUNK, dimension - index * CHUNK)


def chunk_slice(dimension: int, index: int) -> slice:
    return slice(index * CHUNK, index * CHUNK + chunk_size(dimension, index))


class Scheme(ABC):
    """The owners' side of an encrypted store: keys, encryption and decryption. Never leaves the owners' process.

    Subclasses encrypt (:meth:`_encrypt`, :meth:`_decrypt`) and weigh values for the checksum (:meth:`_checksum`, :meth:`_agrees`).
    """

    mode: str

    def __init__(self, dimension: int):
        self.dimension = dimension
        self._pads = Pads(os.urandom(32))
        self._hidden = np.zeros(chunks_of(dimension), dtype=np.uint64)  # Σ pads in the checksums of the committed state
        self._pending = np.zeros_like(self._hidden)
        self._terms = self._pending_terms = 0

    @property
    def run(self) -> str:
        """The public name of the present run, new with each put."""
        return self._pads.run.hex()

    @property
    def public(self) -> bytes:
        """What the server must know to add ciphertexts; nothing secret."""
        return b""

    @abstractmethod
    def check(self, values: np.ndarray) -> None:
        """Refuse values that the scheme cannot hold. Raises StoreError naming value and bound."""

    def restart(self) -> None:
        """Forget the state; fresh pads under a new run."""
        self._pads.restart()
        for total in (self._hidden, self._pending):
            total[:] = 0
        self._terms = self._pending_terms = 0

    def begin(self, owner: int, revision: int) -> None:
        """Start a vector: its pad counts as spent from now on, whatever happens. Raises StoreError if it was spent before."""
        self._pads.spend(owner, revision)
        self._owner, self._revision = owner, revision
        self._tags = self._pads.tags.words(owner, revision, 0, len(self._hidden), np.uint64)
        self._pending += self._tags
        self._pending_terms += 1

    def encrypt(self, values: np.ndarray, index: int) -> bytes:
        """Chunk ``index`` of the vector begun last, checked values in, ciphertext and checksum out."""
        body, checksum = self._encrypt(values, index)
        hidden = (int(checksum) + int(self._tags[index])) % (1 << 64)
        return body + CHECKSUM.pack(hidden)

    def settle(self) -> None:
        """What was begun since the last settle is part of the state now."""
        self._hidden += self._pending
        self._pending[:] = 0
        self._terms, self._pending_terms = self._terms + self._pending_terms, 0

    def decrypt(self, body: bytes, index: int) -> np.ndarray:
        """Chunk ``index`` of the state as float64. Raises StoreError if it is not what the owners' updates sum to."""
        (hidden,) = CHECKSUM.unpack(body[-CHECKSUM.size :])
        expected = (hidden - int(self._hidden[index])) % (1 << 64)
        try:
            values = self._decrypt(memoryview(body)[: -CHECKSUM.size], index, expected)
        except (
            ValueError,
            RuntimeError,
        ) as error:  # what SEAL and NumPy raise for bytes that are no ciphertext of ours
            raise StoreError(f"Chunk {index} of the store's state cannot be decrypted ({error}).") from None
        if values is None:
            raise StoreError(
                f"Chunk {index} of the store's state fails its checksum: the server's sum was changed, the key is another one, or a "
                f"parameter left the range {self.range_text}."
            )
        return values

    def _weights(self, index: int) -> np.ndarray:
        return self._pads.weights.words(STATE, 0, index * CHUNK, chunk_size(self.dimension, index), np.uint64)

    @property
    @abstractmethod
    def range_text(self) -> str:
        """The range of values that the scheme holds, in words."""

    @abstractmethod
    def _encrypt(self, values: np.ndarray, index: int) -> tuple[bytes, int]:
        """Ciphertext and checksum of a chunk."""

    @abstractmethod
    def _decrypt(self, body: memoryview, index: int, checksum: int) -> np.ndarray | None:
        """Values of a chunk; None if they do not have ``checksum``."""


def ring_checksum(weights: np.ndarray, residues: np.ndarray) -> int:
    """Σ wⱼ·vⱼ mod 2⁶⁴ of uint64 weights and int64 residues."""
    return int(np.dot(weights, residues.view(np.uint64)))


class Sum(Protocol):
    """The server's side of a scheme: it reads, adds and writes chunks of ciphertext, and can do nothing else with them."""

    def parse(self, body: bytes, size: int) -> object:
        """The ciphertext of ``size`` values. Raises StoreError for bytes that are not such a ciphertext."""

    def add(self, total: object, part: object) -> object:
        """Their sum; ``total`` may be overwritten."""

    def dump(self, part: object) -> bytes:
        """The bytes that ``parse`` reads."""
