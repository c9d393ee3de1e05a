"""Asking for a passphrase."""

from __future__ import annotations

import getpass
from pathlib import Path

from privlab.config import ConfigError, RunConfig


def passphrase_for(config: RunConfig, file: Path | None, *, confirm: bool) -> str | None:
    """From ``file`` or the keyboard, twice if ``confirm``; None where no passphrase is needed. Raises ConfigError."""
    if not config.encryption.needs_passphrase:
        return None
    # A named key has its passphrase already; typing it wrong is noticed at once.
    return read_passphrase(file, confirm=confirm and not config.encryption.key_name)


def read_passphrase(
    file: Path | None, *, confirm: bool, what: str = "Passphrase", option: str = "--passphrase-file"
) -> str:
    """From ``file`` (which ``option`` named) or the keyboard, where ``what`` is asked, twice if ``confirm``. Raises ConfigError."""
    if file:
        try:
            return file.read_text("utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError.at(option, f"{file} cannot be read: {why}.") from None
    passphrase = getpass.getpass(f"{what}: ")
    if confirm and getpass.getpass(f"{what} again: ") != passphrase:
        raise ConfigError.at("encryption.key", "the two passphrases differ; nothing was done.")
    return passphrase
