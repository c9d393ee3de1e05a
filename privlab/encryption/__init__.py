"""Sealing of bytes and files: what is written to disk can be read only with the key. Bytes in, bytes out."""

from privlab.encryption.keys import KeyFile, Passphrase
from privlab.encryption.sealing import SealError
from privlab.encryption.vault import PlainVault, SealedVault, Vault, check_key, open_vault

__all__ = ["KeyFile", "Passphrase", "PlainVault", "SealError", "SealedVault", "Vault", "check_key", "open_vault"]
