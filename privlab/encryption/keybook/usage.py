"""Which sealed files need which key: read from their headers, so it holds for runs that the store has forgotten too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from privlab.encryption.keybook.entry import FIRST, Keybook, KeyEntry
from privlab.encryption.sealing import HEADER_SIZE, RAW_KEY, SCRYPT, Lock, SealError, lock_of
from privlab.paths import runs_dir


@dataclass(frozen=True)
class Usage:
    """Sealed files by what opens them.

    Attributes:
        by_key: files of each named key.
        by_passphrase: files that a passphrase opens directly; there is no key to rotate or to destroy.
        by_unknown: files of keys that are not here (destroyed, rotated away, or of another computer), and damaged ones.
    """

    by_key: dict[str, list[Path]] = field(default_factory=dict)
    by_passphrase: list[Path] = field(default_factory=list)
    by_unknown: list[Path] = field(default_factory=list)


def usage(book: Keybook | None = None, folders: Sequence[Path] | None = None) -> Usage:
    """Every sealed file below ``folders`` (by default the runs folder); only headers are read, nothing is opened."""
    book = book or Keybook()
    entries = book.readable()
    owners = {generation.id: entry.name for entry in entries for generation in entry.generations}
    found = Usage({entry.name: [] for entry in entries})
    for path, lock in sealed_files(folders):
        if lock is not None and lock.kdf == SCRYPT:
            found.by_passphrase.append(path)
        elif name := owners.get(id_of(lock)):
            found.by_key[name].append(path)
        else:
            found.by_unknown.append(path)
    return found


def files_of(entry: KeyEntry, folders: Sequence[Path] | None = None) -> list[Path]:
    """The sealed files below ``folders`` that need a generation of ``entry``."""
    ids = {each.id for each in entry.generations}
    return [path for path, lock in sealed_files(folders) if id_of(lock) in ids]


def sealed_files(folders: Sequence[Path] | None = None) -> Iterator[tuple[Path, Lock | None]]:
    """Every sealed file below ``folders`` with its lock; None where the header cannot be read. In a stable order."""
    for folder in folders if folders is not None else (runs_dir(),):
        for path in sorted(folder.rglob("*")):
            # What a killed writer left half done is swept up by the next one.
            if path.name.startswith(".") and path.suffix == ".part":
                continue
            try:
                with open(path, "rb") as file:
                    head = file.read(HEADER_SIZE)
            except (FileNotFoundError, IsADirectoryError):
                continue
            if head.startswith(b"PRIVLAB"):
                try:
                    yield path, lock_of(head)
                except SealError:
                    yield path, None


def id_of(lock: Lock | None) -> str | None:
    """Id of the generation that a file needs; None for one that needs a passphrase, or whose header is damaged."""
    if lock is None or lock.kdf == SCRYPT:
        return None
    return FIRST if lock.kdf == RAW_KEY else lock.salt.hex()
