"""Random words from AES-256 in counter mode: nobody without the key can tell them from coin flips."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_KEY_BYTES, _BLOCK_BYTES, _WORD_BYTES = 32, 16, 8

# How many forks lie between the first process and this one. A stream that finds another count than at its birth is a copy.
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class CipherStream:
    """Uniform random words, vectorised (AES-CTR of NIST SP 800-38A; the counter starts at 0 under a key used once).

    Without a seed the key is 256 bits of the operating system's entropy; it is kept in memory only. A forked child's copy
    takes a new key before its first word, so that parent and child never share noise. With a seed the stream is the same
    in every process, and **not** private.

    Args:
        seed: public number of a reproducible run; None for secret randomness.
        purpose: streams of one seed with different purposes have nothing in common.
    """

    def __init__(self, seed: int | None = None, purpose: str = ""):
        self._seed, self._purpose = seed, purpose
        self._zeros = b""
        self._start()

    def fill(self, out: np.ndarray) -> None:
        """Overwrite ``out``, contiguous and of a 64-bit type, with random words."""
        if self.is_forked:
            self._start()
        if len(self._zeros) < out.nbytes:
            self._zeros = bytes(out.nbytes)
        self._encryptor.update_into(memoryview(self._zeros)[: out.nbytes], out.view(np.uint8))
        self._position += len(out)

    def words(self, count: int) -> np.ndarray:
        """The next ``count`` words, uint64 (count,), each of the 2⁶⁴ values equally likely."""
        out = np.empty(count, dtype=np.uint64)
        self.fill(out)
        return out

    @property
    def is_forked(self) -> bool:
        """Whether this is a child's copy that must not go on: the next words come under a new key."""
        return self._forks != _forks and self._seed is None

    def uniforms(self, count: int) -> np.ndarray:
        """The next ``count`` multiples of 2⁻⁵³ in (0, 1], each equally likely, float64 (count,)."""
        words = self.words(count)
        words >>= np.uint64(11)
        words += np.uint64(1)
        return words * 2.0**-53

    @property
    def state(self) -> int:
        """Words taken so far, for the checkpoint of a reproducible run.

        Raises:
            ValueError: the stream has no seed; a private stream is never continued.
        """
        self._require_seed()
        return self._position

    @state.setter
    def state(self, position: int) -> None:
        self._require_seed()
        self._start(position)

    def _require_seed(self) -> None:
        if self._seed is None:
            raise ValueError("A stream without a seed has no state to keep: whoever had it could redraw the noise.")

    def _start(self, position: int = 0) -> None:
        self._forks = _forks
        key = os.urandom(_KEY_BYTES) if self._seed is None else self._seeded_key()
        block, odd = divmod(position, _BLOCK_BYTES // _WORD_BYTES)
        counter = modes.CTR(block.to_bytes(_BLOCK_BYTES, "big"))
        self._encryptor = Cipher(algorithms.AES256(key), counter).encryptor()
        self._position = position - odd
        if odd:
            self.words(odd)

    def _seeded_key(self) -> bytes:
        return hashlib.sha256(f"privlab {self._purpose} {self._seed}".encode()).digest()
