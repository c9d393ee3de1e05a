"""The sealed format: AES-256-GCM in chunks, under a fresh data key for every file.

Layout, all numbers big-endian::

    magic 8 | kdf 1 | log2 N 1 | r 1 | p 1 | salt 16 | nonce prefix 7 | wrap nonce 12 | wrapped data key 48 | chunks

The data key is random for each file and is wrapped by AES-GCM under a *wrapping key*: a raw key file, scrypt of a
passphrase, or a named key, whose id stands in place of the salt. Its associated data is the header before it, so no
field can be changed. Chunks hold 1 MiB each and follow the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár
2015): nonce = prefix ‖ chunk counter ‖ last-chunk flag. Their associated data is magic ‖ prefix, which lets
:func:`rewrap` put another wrapped key in front of the same chunks; in version 1, which is still read, it is
SHA-256(header), so that those files are sealed again instead. A flipped bit, a cut, swapped or added chunk, a changed
header and a wrong key all fail authentication.

What it protects: a thief of the files learns their sizes and times and nothing else, and cannot change them unseen.
What it does not: the training process itself sees everything, an old file can be put back in place of a newer one, and
sealing gives no differential privacy.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privlab.encryption.secret import Secret

#: Version 2; the last byte is the version.
MAGIC = b"PRIVLAB\x02"
_OLD_MAGIC = b"PRIVLAB\x01"
CHUNK = 1 << 20
_TAG = 16
_FIELDS = struct.Struct(">8sBBBB16s7s12s")
_WRAPPED = 32 + _TAG
HEADER_SIZE = _FIELDS.size + _WRAPPED

#: How the wrapping key comes about.
RAW_KEY, SCRYPT, NAMED = 0, 1, 2
_CALLED = {RAW_KEY: "key file", SCRYPT: "passphrase", NAMED: "named key"}
#: Most memory that a file may ask a reader to spend on scrypt, in bytes (128 · N · r). Our own files ask for half.
_MOST_MEMORY = 256 << 20
_MOST_P = 4


class SealError(Exception):
    """A file that cannot be opened or sealed, in plain words."""


@dataclass(frozen=True)
class Lock:
    """How a file's wrapping key is found: a raw key (``kdf=0``), scrypt with cost N = 2^log2_n, r, p and a salt
    (``kdf=1``), or a named key (``kdf=2``) whose 16-byte id is ``salt``."""

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
        if self.kdf in (RAW_KEY, NAMED):
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


#: Finds the 32-byte wrapping key for a lock whose cost has been checked; may raise SealError.
FindKey = Callable[[Lock], bytes]


def is_sealed(data: bytes) -> bool:
    """Whether ``data`` begins like a sealed file of any version."""
    return len(data) >= len(MAGIC) and data[: len(MAGIC) - 1] == MAGIC[:-1]


def lock_of(sealed: bytes) -> Lock:
    """How the file is locked, read from its first :data:`HEADER_SIZE` bytes; nothing is authenticated yet.

    Raises:
        SealError: not a sealed file, cut off, of a newer version, or a lock that :meth:`Lock.check` refuses.
    """
    return _read_header(sealed).lock


def seal(data: bytes, lock: Lock, wrapping_key: bytes) -> bytes:
    """``data`` as authenticated ciphertext; :data:`HEADER_SIZE` + 16 bytes a MiB longer than ``data``.

    Args:
        data: any bytes, empty too.
        lock: says in the header how ``wrapping_key`` is found again.
        wrapping_key: 32 bytes.
    """
    return _joined(sealed_parts(data, lock, wrapping_key))


def sealed_parts(data: bytes, lock: Lock, wrapping_key: bytes) -> Iterator[bytes | memoryview]:
    """What :func:`seal` returns, in pieces of about 1 MiB that share one buffer: use each before asking for the next.

    Writing pieces to a file as they come costs less memory and time than making the whole first.
    """
    data_key, prefix = Secret(AESGCM.generate_key(256)), os.urandom(7)
    yield _wrapped(MAGIC, prefix, data_key, lock, wrapping_key)
    bound, cipher = MAGIC + prefix, AESGCM(data_key.reveal())
    chunks = max(1, -(-len(data) // CHUNK))
    source, room = memoryview(data), memoryview(bytearray(min(len(data), CHUNK) + _TAG))
    for index in range(chunks):
        part = source[index * CHUNK : (index + 1) * CHUNK]
        target = room[: len(part) + _TAG]
        cipher.encrypt_into(_nonce(prefix, index, index == chunks - 1), part, bound, target)
        yield target


def unseal(sealed: bytes, wrapping_key: FindKey) -> bytes:
    """The bytes that :func:`seal` was given.

    Args:
        sealed: a whole sealed file.
        wrapping_key: finds the wrapping key.

    Raises:
        SealError: not a sealed file, wrong key, or changed in any way since it was sealed.
    """
    header = _read_header(sealed)
    if len(sealed) < HEADER_SIZE + _TAG:
        raise SealError(f"The sealed file is cut off: {len(sealed)} bytes, at least {HEADER_SIZE + _TAG} are needed.")
    cipher = AESGCM(header.data_key(wrapping_key).reveal())
    size = len(sealed) - HEADER_SIZE
    chunks = -(-size // (CHUNK + _TAG))
    if size < chunks * _TAG:
        raise SealError("The sealed file was changed or cut off after it was written; it is refused.")
    return _joined(_opened_parts(memoryview(sealed)[HEADER_SIZE:], chunks, header, cipher))


def rewrap(sealed: bytes, wrapping_key: FindKey, lock: Lock, new_key: bytes) -> Iterator[bytes | memoryview]:
    """The same file for another wrapping key, in pieces: a new header before the same chunks, whose data key stays.

    Whoever once held the old key *and* the file can still read these chunks; only a file written anew has a new data key.
    The chunks are not authenticated here: damage stays, and is refused when the file is opened. A file of version 1 is
    opened and sealed again.

    Args:
        sealed: a whole sealed file.
        wrapping_key: finds the present wrapping key.
        lock, new_key: as for :func:`seal`.

    Raises:
        SealError: as :func:`unseal`, for what is in the header.
    """
    header = _read_header(sealed)
    if header.magic == _OLD_MAGIC:
        yield from sealed_parts(unseal(sealed, wrapping_key), lock, new_key)
        return
    yield _wrapped(MAGIC, header.prefix, header.data_key(wrapping_key), lock, new_key)
    yield memoryview(sealed)[HEADER_SIZE:]


@dataclass(frozen=True)
class _Header:
    magic: bytes
    lock: Lock
    prefix: bytes
    wrap_nonce: bytes
    packed: bytes

    @property
    def bound(self) -> bytes:
        """Associated data of every chunk."""
        return hashlib.sha256(self.packed).digest() if self.magic == _OLD_MAGIC else self.magic + self.prefix

    def data_key(self, wrapping_key: FindKey) -> Secret:
        fields, wrapped = self.packed[: _FIELDS.size], self.packed[_FIELDS.size :]
        try:
            return Secret(AESGCM(wrapping_key(self.lock)).decrypt(self.wrap_nonce, wrapped, fields))
        except InvalidTag:
            raise SealError(
                f"The {_CALLED[self.lock.kdf]} does not open this file: it is the wrong one, or the file's header was changed."
            ) from None


def _read_header(sealed: bytes) -> _Header:
    if not is_sealed(sealed):
        raise SealError("This is not a sealed PrivLab file (its first bytes are different).")
    if (version := sealed[len(MAGIC) - 1]) not in (MAGIC[-1], _OLD_MAGIC[-1]):
        raise SealError(
            f"The sealed file has format version {version}; this PrivLab reads versions 1 to {MAGIC[-1]}. It is damaged, or "
            "from a newer PrivLab."
        )
    if len(sealed) < HEADER_SIZE:
        raise SealError(f"The sealed file is cut off: {len(sealed)} bytes, at least {HEADER_SIZE + _TAG} are needed.")
    packed = bytes(sealed[:HEADER_SIZE])
    magic, kdf, log2_n, r, p, salt, prefix, wrap_nonce = _FIELDS.unpack(packed[: _FIELDS.size])
    lock = Lock(kdf, log2_n, r, p, salt)
    lock.check()
    return _Header(magic, lock, prefix, wrap_nonce, packed)


def _wrapped(magic: bytes, prefix: bytes, data_key: Secret, lock: Lock, wrapping_key: bytes) -> bytes:
    """A whole header."""
    wrap_nonce = os.urandom(12)
    fields = _FIELDS.pack(magic, lock.kdf, lock.log2_n, lock.r, lock.p, lock.salt, prefix, wrap_nonce)
    return fields + AESGCM(wrapping_key).encrypt(wrap_nonce, data_key.reveal(), fields)


def _opened_parts(source: memoryview, chunks: int, header: _Header, cipher: AESGCM) -> Iterator[memoryview]:
    """The chunks of ``source`` in the clear, in one buffer that they share."""
    bound, room = header.bound, memoryview(bytearray(min(len(source), CHUNK)))
    for index in range(chunks):
        part = source[index * (CHUNK + _TAG) : (index + 1) * (CHUNK + _TAG)]
        target = room[: len(part) - _TAG]
        try:
            cipher.decrypt_into(_nonce(header.prefix, index, index == chunks - 1), part, bound, target)
        except InvalidTag:
            raise SealError("The sealed file was changed or cut off after it was written; it is refused.") from None
        yield target


def _joined(parts: Iterator[bytes | memoryview]) -> bytes:
    # Grows in place and hands its bytes over without a copy; fresh memory is what costs most here.
    whole = io.BytesIO()
    for part in parts:
        whole.write(part)
    return whole.getvalue()


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">I?", index, last)
