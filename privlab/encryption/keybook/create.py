"""Making a key."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from privlab.encryption.keybook.entry import DEFAULT, FIRST, SOURCES, Keybook, KeyEntry, check_name, new_generation
from privlab.encryption.keybook.sources import Material, check_keyring
from privlab.encryption.keys import KEY_SIZE, Passphrase
from privlab.encryption.sealing import SealError
from privlab.encryption.secret import Secret
from privlab.files import create_once


def create_key(
    name: str,
    source: str = "keyfile",
    *,
    passphrase: Passphrase | None = None,
    folder: Path | None = None,
    book: Keybook | None = None,
) -> KeyEntry:
    """Make a random 256-bit key called ``name``.

    Args:
        source: ``keyfile``; ``passphrase``: kept as ciphertext that only ``passphrase`` opens; ``keyring``: kept by the OS.
        folder: where the file of key material goes, for example on a medium that can be taken out; by default PrivLab's
            keys folder, where whoever steals the whole disk finds it beside the files (unless a passphrase protects it).

    Raises:
        SealError: a name that is taken or cannot be one, no keyring, no passphrase, or a folder that is not there.
    """
    book = book or Keybook()
    check_name(name)
    if source not in SOURCES:
        raise SealError(f"source={source!r} is refused: a key is kept as one of {', '.join(SOURCES)}.")
    if name == DEFAULT:
        raise SealError(f"“{DEFAULT}” is the default key, which is made by itself at first use; choose another name.")
    if source == "passphrase" and passphrase is None:
        raise SealError(f"The key “{name}” is to open with a passphrase; give the passphrase.")
    if source == "keyring":
        check_keyring()
    check_folder(folder, source)
    with book.alone(name):
        if book.find(name):
            raise SealError(f"There is a key “{name}” already; choose another name, or rotate it.")
        generation = new_generation(name)
        entry = KeyEntry(name, source, time.time(), str(folder.absolute()) if folder else "", (generation,))
        # First the key, then the entry: what a crash leaves between the two has sealed nothing.
        Material(entry, book.folder, passphrase).put(generation, new_secret())
        book.save(entry)
    return entry


def create_default(book: Keybook) -> None:
    """Make the default key unless it is there. Raises SealError while it is being destroyed."""
    if entry := book.find(DEFAULT):
        _ = entry.current
        return
    if not any(each.id == FIRST for each in book.gone()):
        create_once(book.folder / f"{DEFAULT}.key", new_secret().reveal())
        return
    # The raw key file is gone for good: files sealed by it must not be mistaken for files of its successor.
    with book.alone(DEFAULT):
        if book.find(DEFAULT) is None:
            generation = new_generation(DEFAULT)
            entry = KeyEntry(DEFAULT, "keyfile", time.time(), generations=(generation,))
            Material(entry, book.folder).put(generation, new_secret())
            book.save(entry)


def check_folder(folder: Path | None, source: str) -> None:
    """Raises SealError for a folder that is not there, or that ``source`` has no use for."""
    if folder is None:
        return
    if source == "keyring":
        raise SealError("A key in the OS keyring has no folder; leave the folder out.")
    if not folder.is_dir():
        raise SealError(f"The folder {folder} is not there; make it first.")


def new_secret() -> Secret:
    """256 random bits from the operating system."""
    return Secret(secrets.token_bytes(KEY_SIZE))
