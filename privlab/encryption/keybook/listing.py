"""Every key in a line: where it is kept, what state it is in, which files need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from privlab.encryption.keybook.entry import Keybook, KeyEntry
from privlab.encryption.keybook.usage import usage
from privlab.encryption.sealing import SealError


@dataclass(frozen=True)
class KeyInfo:
    """A key as a person sees it.

    Attributes:
        entry: None where the entry is damaged; ``state`` then says so.
        state: ``in use``, or what has to be finished or mended, in words.
        files: the sealed files that need it.
    """

    name: str
    entry: KeyEntry | None
    state: str
    files: tuple[Path, ...] = ()


def list_keys(*, folders: Sequence[Path] | None = None, book: Keybook | None = None) -> list[KeyInfo]:
    """All keys, the default one first. A damaged entry is listed with what is wrong, so it hides no other."""
    book = book or Keybook()
    needed = usage(book, folders).by_key
    found = []
    for name in book.names():
        try:
            entry = book.find(name)
        except SealError as error:
            found.append(KeyInfo(name, None, str(error)))
            continue
        if entry is not None:
            found.append(KeyInfo(name, entry, _state(entry), tuple(needed.get(name, ()))))
    return found


def _state(entry: KeyEntry) -> str:
    if not entry.generations:
        return "destruction not finished: destroy it again"
    if entry.retired:
        return "rotation not finished: rotate it again"
    if entry.doomed:
        return "material of an earlier rotation is not destroyed yet: rotate it again"
    return "in use"
