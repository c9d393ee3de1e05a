"""Where a wrapping key comes from: a key file, or a passphrase that is never written down. Named keys: :mod:`.keybook`."""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn, Protocol

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from privlab.encryption.sealing import RAW_KEY, SCRYPT, Lock, SealError
from privlab.encryption.secret import Secret
from privlab.files import create_once

KEY_SIZE = 32
#: scrypt cost: N = 2^17, r = 8, p = 1 takes 128 MiB and about 0.4 s, so guessing passphrases is slow.
LOG2_N, R, P = 17, 8, 1


class Keys(Protocol):
    """Where a vault gets its wrapping keys."""

    @property
    def lock(self) -> Lock:
        """What a file that is sealed now says about its key."""

    def for_sealing(self) -> bytes:
        """The key that belongs to :attr:`lock`. Raises SealError."""

    def for_opening(self, lock: Lock) -> bytes:
        """The key of a file sealed earlier. Raises SealError."""

    def held(self, *, sealing: bool) -> AbstractContextManager[None]:
        """While it lasts, the key is neither rotated nor destroyed; for ``sealing``, one that makes itself is made before."""


class KeyFile:
    """A raw 256-bit key at ``path``, made on first use, readable by its owner only (0600)."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def lock(self) -> Lock:
        return Lock(RAW_KEY)

    def for_sealing(self) -> bytes:
        """The key; made if there is none yet. Raises SealError for a file of the wrong size."""
        if not self.path.exists():
            create_once(self.path, secrets.token_bytes(KEY_SIZE))
        return self._read()

    def for_opening(self, lock: Lock) -> bytes:
        """The key. Raises SealError if the file was sealed with a passphrase, or the key file is missing or wrong."""
        if lock.kdf != RAW_KEY:
            raise SealError("This file was sealed with a passphrase, not with the key file; give the passphrase.")
        if not self.path.exists():
            raise SealError(f"The key file {self.path} is missing, so what it sealed cannot be opened.")
        return self._read()

    @contextmanager
    def held(self, *, sealing: bool) -> Iterator[None]:
        yield

    def _read(self) -> bytes:
        key = Secret(self.path.read_bytes())
        if key.size != KEY_SIZE:
            raise SealError(f"The key file {self.path} holds {key.size} bytes; a key has exactly {KEY_SIZE}.")
        return key.reveal()


class Passphrase:
    """A key from a passphrase by scrypt (RFC 7914). Derived once for each salt and kept in memory only.

    Args:
        text: the passphrase; the same characters in another Unicode form count as the same.
        log2_n: scrypt's cost N as a power of two.

    Raises:
        SealError: an empty passphrase.
    """

    def __init__(self, text: str, log2_n: int = LOG2_N):
        if not text:
            raise SealError("The passphrase is empty; give at least one character.")
        self._secret = Secret(unicodedata.normalize("NFC", text).encode("utf-8"))
        self._derived: dict[Lock, Secret] = {}
        self.lock = Lock(SCRYPT, log2_n, R, P, os.urandom(16))

    def for_sealing(self) -> bytes:
        """The key for this object's own fresh salt."""
        return self.for_opening(self.lock)

    def for_opening(self, lock: Lock) -> bytes:
        """The key for a file's lock. Raises SealError if the file was sealed with a key file."""
        if lock.kdf != SCRYPT:
            raise SealError("This file was sealed with a key file, not with a passphrase.")
        if lock not in self._derived:
            kdf = Scrypt(salt=lock.salt, length=KEY_SIZE, n=1 << lock.log2_n, r=lock.r, p=lock.p)
            self._derived[lock] = Secret(kdf.derive(self._secret.reveal()))
        return self._derived[lock].reveal()

    @contextmanager
    def held(self, *, sealing: bool) -> Iterator[None]:
        yield

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A passphrase is not written anywhere, so it cannot be pickled.")
