"""Where checkpoints and weights are written: as they are, or sealed. Both replace a file in one durable step."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from privlab.config import EncryptionConfig
from privlab.encryption.keybook import DEFAULT, NamedKey
from privlab.encryption.keys import Keys, Passphrase
from privlab.encryption.sealing import SealError, is_sealed, sealed_parts, unseal
from privlab.files import replace_atomically


class Vault(Protocol):
    """A way of keeping bytes on disk."""

    def write(self, path: Path, data: bytes) -> None:
        """Replace the file at ``path`` by ``data``; durable on return. Raises OSError or SealError, leaving the old file."""

    def read(self, path: Path) -> bytes:
        """What was written to ``path``. Raises FileNotFoundError, or SealError in plain words."""


class PlainVault:
    """Files as they are."""

    def write(self, path: Path, data: bytes) -> None:
        replace_atomically(path, data)

    def read(self, path: Path) -> bytes:
        data = path.read_bytes()
        if is_sealed(data):
            raise SealError(f"{path.name} is sealed; open it with encryption mode “sealed” and its key.")
        return data


class SealedVault:
    """Files as authenticated ciphertext only (:mod:`privlab.encryption.sealing`).

    Args:
        keys: the wrapping key. A passphrase is stretched once for the vault, not for each file; the data key is
            fresh for each file all the same.
    """

    def __init__(self, keys: Keys):
        self._keys = keys

    def write(self, path: Path, data: bytes) -> None:
        # Held until the file is in place, so that no rotation takes the key away in between.
        with self._keys.held(sealing=True):
            replace_atomically(path, sealed_parts(data, self._keys.lock, self._keys.for_sealing()))

    def read(self, path: Path) -> bytes:
        with self._keys.held(sealing=False):
            return unseal(path.read_bytes(), self._keys.for_opening)


def open_vault(config: EncryptionConfig, passphrase: str | None = None) -> Vault:
    """The vault that ``config`` asks for. The default key file is made in ``keys_dir()`` when something is first sealed.

    Raises:
        SealError: the settings ask for a passphrase and none is given, or for a named key that is not there, is kept
            otherwise than ``encryption.key`` says, or does not open with the passphrase.
    """
    if config.mode == "none":
        return PlainVault()
    secret = Passphrase(passphrase) if config.needs_passphrase and passphrase is not None else None
    if config.needs_passphrase and secret is None:
        raise SealError("This run is sealed with a passphrase; give the passphrase to go on.")
    if secret and not config.key_name:
        return SealedVault(secret)
    key = NamedKey(config.key_name or DEFAULT, secret)
    key.check(config.key)
    return SealedVault(key)


def check_key(config: EncryptionConfig) -> None:
    """Refuse settings whose key is not there or is kept otherwise than they say, before a run is made. Opens nothing.

    Raises:
        SealError: which key, and what to do.
    """
    if config.mode != "none" and (config.key_name or config.key != "passphrase"):
        NamedKey(config.key_name or DEFAULT).check(config.key)
