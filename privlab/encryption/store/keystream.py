"""Secret numbers that every owner can compute and the server cannot: AES-256 in counter mode, each position used once.

Streams are named by (run, owner, revision). The run is 16 random bytes, new with every ``put``, and goes into the key by HKDF
(RFC 5869), so that a store that starts again from an old state never meets an old pad. Owner and revision are the first half of the
counter block (NIST SP 800-38A), so streams cannot overlap.
"""

from __future__ import annotations

import os
import struct

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privlab.encryption.store.contract import StoreError

#: Stands for “owner” in the pad of a state that was put.
STATE = 0xFFFF
_START = struct.Struct(">QQ")
_BLOCK = 16


class Keystream:
    """Words under one purpose of one run.

    Args:
        secret: 32 secret bytes of the owners.
        run: 16 public random bytes.
        purpose: streams of different purposes have nothing in common.
    """

    def __init__(self, secret: bytes, run: bytes, purpose: str):
        info = b"PrivLab parameter store 1 " + purpose.encode()
        self._key = algorithms.AES(HKDF(hashes.SHA256(), 32, salt=run, info=info).derive(secret))
        self._zeros = b""

    def words(self, owner: int, revision: int, start: int, count: int, kind: type = np.uint32) -> np.ndarray:
        """``count`` uniform words of ``kind`` (np.uint32 or np.uint64) from position ``start``, which begins an AES block."""
        out = np.empty(count, dtype=kind)
        if len(self._zeros) < out.nbytes:
            self._zeros = bytes(out.nbytes)
        block, rest = divmod(start * out.itemsize, _BLOCK)
        assert not rest, "a chunk starts at a whole AES block"
        counter = _START.pack(owner << 48 | revision, block)
        encryptor = Cipher(self._key, modes.CTR(counter)).encryptor()
        encryptor.update_into(memoryview(self._zeros)[: out.nbytes], out.view(np.uint8))
        return out


class Pads:
    """The run's keys and the note of which pads are spent.

    ``words`` hides vectors of the masked store, ``tags`` hides checksums, and ``weights`` makes them (:mod:`…store.checksums`).
    """

    def __init__(self, secret: bytes):
        self._secret = secret
        self.restart()

    def restart(self) -> None:
        """A new run: fresh keys, nothing spent."""
        self.run = os.urandom(16)
        self.words, self.tags, self.weights = (
            Keystream(self._secret, self.run, purpose) for purpose in ("words", "tags", "weights")
        )
        self._spent: dict[int, int] = {}

    def spend(self, owner: int, revision: int) -> None:
        """Note that the pad of ``owner`` at ``revision`` is used now. Refused if it, or a later one, was used before."""
        if self._spent.get(owner, -1) >= revision:
            raise StoreError(
                f"The pad of owner {owner} for revision {revision} was used before, by an update that failed or was replayed; two "
                "messages under one pad would betray their difference. Put the last state again to go on."
            )
        self._spent[owner] = revision
