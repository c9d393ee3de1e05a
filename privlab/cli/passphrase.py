"""Asking for the passphrase of a sealed run."""

from __future__ import annotations

import getpass
from pathlib import Path

from privlab.config import ConfigError, RunConfig


def passphrase_for(config: RunConfig, file: Path | None, *, confirm: bool) -> str | None:
    """From ``file`` or the keyboard, twice if ``confirm``; None where no passphrase is needed. Raises ConfigError."""
    if not config.encryption.needs_passphrase:
        return None
    if file:
        try:
            return file.read_text("utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError.at("--passphrase-file", f"{file} cannot be read: {error.strerror}.") from None
    passphrase = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Passphrase again: ") != passphrase:
        raise ConfigError.at("encryption.key", "the two passphrases differ; nothing was started.")
    return passphrase
