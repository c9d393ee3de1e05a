"""Words that a key stands for, and the keys that two owners share."""

from __future__ import annotations

import struct

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privlab.encryption.masks.messages import MaskError

#: Words of a mask made at a time.
_PART = 1 << 15


def add_stream(words: np.ndarray, key: bytes, *, minus: bool = False) -> None:
    """Add to ``words``, (d,) uint32, or subtract the words that a 32-byte key used once stands for: AES-256 in counter mode
    from 0, read as little-endian numbers. In parts that stay in the processor's cache."""
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    zeros, out = memoryview(bytes(4 * _PART)), np.empty(_PART, dtype="<u4")
    change = np.subtract if minus else np.add
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART]
        encryptor.update_into(zeros[: part.nbytes], out[: part.size].view(np.uint8))
        change(part, out[: part.size], out=part)


def pair_key(mine: X25519PrivateKey, theirs: bytes, label: bytes, one: int, other: int) -> bytes:
    """The 32-byte key that two owners share: HKDF-SHA256 of their X25519 secret, bound to the round and to the pair.

    Raises:
        MaskError: a public key that gives no secret (a point of small order).
    """
    try:
        secret = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise MaskError("A public key is not one that a secret can be agreed on with.") from None
    info = b"privlab masks 1 " + struct.pack(">II", min(one, other), max(one, other)) + label
    return HKDF(SHA256(), 32, salt=None, info=info).derive(secret)


def veil(words: np.ndarray, key: bytes, label: bytes, owner: int, *, lift: bool = False) -> None:
    """Put ``words`` (d,) uint32 of one owner under a key that the owners share and the summing party lacks, or ``lift`` it.

    The summing party then sees a random sum; owners lift the veil of each owner whose words are in it. Masks alone would show
    it the sum, and after a crash a second sum for steps that are done again.

    Args:
        key: 32 bytes. A label serves one round: the same words twice under one key and label would show their difference.
    """
    info = b"privlab veil 1 " + struct.pack(">I", owner) + label
    add_stream(words, HKDF(SHA256(), 32, salt=None, info=info).derive(key), minus=lift)
