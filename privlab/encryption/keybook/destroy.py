"""Destroying a key (crypto-shredding, NIST SP 800-88 rev. 1, section 2.5): without it the ciphertext is noise.

It is worth as much as the certainty that no copy of the key is left. What cannot be made certain is said each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from privlab.encryption.keybook.entry import Keybook, KeyEntry
from privlab.encryption.keybook.sources import Material
from privlab.encryption.keybook.usage import files_of

_EVERYWHERE = (
    "Copies of the key in backups, exports or snapshots open everything again: destroy them too.",
    "A run that is training keeps what it read in its own memory until it ends, and memory may be in the swap file.",
    "Whoever copied a sealed file and the key, or the unsealed weights, before now still has them.",
)
_ON_DISK = (
    "The key's file is overwritten and removed, but an SSD and a file system that copies on write keep old blocks for a while: "
    "only an encrypted disk, or destroying the medium, makes that certain."
)
_IN_KEYRING = "Whether the operating system's keyring overwrites what it deletes is up to that keyring."


@dataclass(frozen=True)
class Destroyed:
    """What was done and what was not.

    Attributes:
        files: sealed files that can never be opened again.
        cannot_guarantee: sentences, each a way in which the key might survive.
    """

    name: str
    files: tuple[Path, ...]
    cannot_guarantee: tuple[str, ...]


def cannot_guarantee(entry: KeyEntry) -> tuple[str, ...]:
    """The ways in which ``entry`` might survive its destruction, one sentence each."""
    return (_IN_KEYRING if entry.source == "keyring" else _ON_DISK, *_EVERYWHERE)


def destroy_key(name: str, *, folders: Sequence[Path] | None = None, book: Keybook | None = None) -> Destroyed:
    """Destroy the key ``name`` for good. Ask beforehand, naming the files of :func:`privlab.encryption.keybook.files_of`.

    No passphrase is needed: whoever may delete files can do as much. Killed on the way, it is finished by a second call;
    the key is out of use from the first moment.

    Raises:
        SealError: no such key, or material that cannot be reached (a medium that is not plugged in); repeat then.
    """
    book = book or Keybook()
    with book.alone(name):
        entry = book.get(name)
        files = tuple(files_of(entry, folders))
        doomed = (*entry.doomed, *(each.material for each in entry.generations))
        book.note_gone(name, entry.generations, "destroyed")
        book.save(replace(entry, generations=(), doomed=doomed))
        material = Material(entry, book.folder)
        for each in doomed:
            material.destroy(each)
        material.destroy_leftovers(book.folder)
        book.forget(name)
    return Destroyed(name, files, cannot_guarantee(entry))


def about_to_destroy(name: str, *, folders: Sequence[Path] | None = None, book: Keybook | None = None) -> Destroyed:
    """What :func:`destroy_key` would do, without doing it. Raises SealError: no such key."""
    book = book or Keybook()
    entry = book.get(name)
    return Destroyed(name, tuple(files_of(entry, folders)), cannot_guarantee(entry))
