"""The sealed format: AES-256-GCM in chunks, under a fresh data key for every file.

Layout, all numbers big-endian::

    magic 8 | kdf 1 | log2 N 1 | r 1 | p 1 | salt 16 | nonce prefix 7 | wrap nonce 12 | wrapped data key 48 | chunks

The data key is random for each file and is wrapped by AES-GCM under a *wrapping key*: a raw key file, or scrypt of a
passphrase. Its associated data is the header before it, so no field can be changed. Chunks hold 1 MiB each and follow
the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): nonce = prefix ‖ chunk counter ‖ last-chunk flag, and
associated data = SHA-256(header). A flipped bit, a cut, swapped or added chunk, a changed header and a wrong key all
fail authentication.

What it protects: a thief of the files learns their sizes and times and nothing else, and cannot change them unseen.
What it does not: the training process itself sees everything, an old file can be put back in place of a newer one, and
sealing gives no differential privacy.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"PRIVLAB\x01"
CHUNK = 1 << 20
_TAG = 16
_FIELDS = struct.Struct(">8sBBBB16s7s12s")
_WRAPPED = 32 + _TAG
HEADER_SIZE = _FIELDS.size + _WRAPPED

#: How the wrapping key comes about.
RAW_KEY, SCRYPT = 0, 1
#: Most memory that a file may ask a reader to spend on scrypt, in bytes (128 · N · r). Our own files ask for half.
_MOST_MEMORY = 256 << 20
_MOST_P = 4


class SealError(Exception):
    """A file that cannot be opened or sealed, in plain words."""


@dataclass(frozen=True)
class Lock:
    """How a file's wrapping key is derived: a raw key (``kdf=0``), or scrypt with cost N = 2^log2_n, r, p and a salt."""

    kdf: int
    log2_n: int = 0
    r: int = 0
    p: int = 0
    salt: bytes = bytes(16)

    def check(self) -> None:
        """Refuse a lock that this version does not know, or that would cost too much to try.

        Raises:
            SealError: an unknown kind, or a scrypt cost beyond 256 MiB or p > 4. The header is read before anything is
                authenticated, so an unbounded cost would let a forged file exhaust the machine.
        """
        if self.kdf == RAW_KEY:
            return
        if self.kdf != SCRYPT:
            raise SealError(f"The sealed file is damaged or from a newer PrivLab: key kind {self.kdf} is unknown.")
        if self.log2_n > 40 or self.r < 1 or 128 * (1 << self.log2_n) * self.r > _MOST_MEMORY:
            raise SealError(
                f"The sealed file asks for scrypt N=2^{self.log2_n}, r={self.r}: more than {_MOST_MEMORY >> 20} MiB; refused."
            )
        if not 1 <= self.p <= _MOST_P or self.log2_n < 1:
            raise SealError(
                f"The sealed file asks for scrypt N=2^{self.log2_n}, p={self.p}; p must be 1 to {_MOST_P}, N above 1."
            )


def is_sealed(data: bytes) -> bool:
    """Whether ``data`` begins like a sealed file."""
    return data[: len(MAGIC)] == MAGIC


def seal(data: bytes, lock: Lock, wrapping_key: bytes) -> bytes:
    """``data`` as authenticated ciphertext; :data:`HEADER_SIZE` + 16 bytes a MiB longer than ``data``.

    Args:
        data: any bytes, empty too.
        lock: says in the header how ``wrapping_key`` is found again.
        wrapping_key: 32 bytes.
    """
    data_key, prefix, wrap_nonce = AESGCM.generate_key(256), os.urandom(7), os.urandom(12)
    fields = _FIELDS.pack(MAGIC, lock.kdf, lock.log2_n, lock.r, lock.p, lock.salt, prefix, wrap_nonce)
    header = fields + AESGCM(wrapping_key).encrypt(wrap_nonce, data_key, fields)
    bound, cipher = hashlib.sha256(header).digest(), AESGCM(data_key)

    chunks = max(1, -(-len(data) // CHUNK))
    sealed = bytearray(HEADER_SIZE + len(data) + chunks * _TAG)
    sealed[:HEADER_SIZE] = header
    source, target, at = memoryview(data), memoryview(sealed), HEADER_SIZE
    for index in range(chunks):
        part = source[index * CHUNK : (index + 1) * CHUNK]
        end = at + len(part) + _TAG
        cipher.encrypt_into(_nonce(prefix, index, index == chunks - 1), part, bound, target[at:end])
        at = end
    return bytes(sealed)


def unseal(sealed: bytes, wrapping_key: Callable[[Lock], bytes]) -> bytes:
    """The bytes that :func:`seal` was given.

    Args:
        sealed: a whole sealed file.
        wrapping_key: finds the 32-byte key for a lock whose cost has been checked; may raise SealError.

    Raises:
        SealError: not a sealed file, wrong key, or changed in any way since it was sealed.
    """
    if not is_sealed(sealed):
        raise SealError("This is not a sealed PrivLab file (its first bytes are different).")
    if len(sealed) < HEADER_SIZE + _TAG:
        raise SealError(f"The sealed file is cut off: {len(sealed)} bytes, at least {HEADER_SIZE + _TAG} are needed.")
    header = sealed[:HEADER_SIZE]
    _, kdf, log2_n, r, p, salt, prefix, wrap_nonce = _FIELDS.unpack(header[: _FIELDS.size])
    lock = Lock(kdf, log2_n, r, p, salt)
    lock.check()
    try:
        data_key = AESGCM(wrapping_key(lock)).decrypt(wrap_nonce, header[_FIELDS.size :], header[: _FIELDS.size])
    except InvalidTag:
        what = "passphrase" if kdf == SCRYPT else "key file"
        raise SealError(
            f"The {what} does not open this file: it is the wrong one, or the file's header was changed."
        ) from None

    bound, cipher = hashlib.sha256(header).digest(), AESGCM(data_key)
    size = len(sealed) - HEADER_SIZE
    chunks = -(-size // (CHUNK + _TAG))
    if size < chunks * _TAG:
        raise SealError("The sealed file was changed or cut off after it was written; it is refused.")
    data = bytearray(size - chunks * _TAG)
    source, target = memoryview(sealed)[HEADER_SIZE:], memoryview(data)
    for index in range(chunks):
        part = source[index * (CHUNK + _TAG) : (index + 1) * (CHUNK + _TAG)]
        room = target[index * CHUNK : (index + 1) * CHUNK]
        try:
            cipher.decrypt_into(_nonce(prefix, index, index == chunks - 1), part, bound, room)
        except InvalidTag:
            raise SealError("The sealed file was changed or cut off after it was written; it is refused.") from None
    return bytes(data)


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">I?", index, last)
