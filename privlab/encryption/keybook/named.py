"""A named key for a vault: looks the key up at each use, so that a rotation or a destruction takes effect at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from privlab.encryption.keybook.create import create_default
from privlab.encryption.keybook.entry import DEFAULT, FIRST, Keybook, KeyEntry, day
from privlab.encryption.keybook.sources import Material
from privlab.encryption.keys import Passphrase
from privlab.encryption.sealing import RAW_KEY, SCRYPT, Lock, SealError
from privlab.encryption.secret import Secret


class NamedKey:
    """The key called ``name``. The default key is made when something is first sealed with it.

    Args:
        name: as in the keybook.
        passphrase: for a key of source ``passphrase``.
        book: where the key is looked up; by default PrivLab's own.
    """

    def __init__(self, name: str = DEFAULT, passphrase: Passphrase | None = None, book: Keybook | None = None):
        self._name = name
        self._passphrase = passphrase
        self._book = book or Keybook()
        self._known: dict[str, Secret] = {}

    def __repr__(self) -> str:
        return f"NamedKey({self._name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is not written anywhere, so it cannot be pickled.")

    def check(self, source: str) -> None:
        """See that the key can be used as settings say: ``encryption.key=source``. A passphrase is tried if one was given.

        Raises:
            SealError: no such key, a key that asks for a passphrase where ``source`` does not (or the reverse), or a passphrase
                that does not open it.
        """
        entry = self._book.find(self._name) if self._name == DEFAULT else self._book.get(self._name)
        if entry is None:
            return
        if "passphrase" in (entry.source, source) and entry.source != source:
            raise SealError(
                f"The key “{self._name}” is kept as {entry.source}, and the settings say encryption.key={source}; "
                f"set encryption.key={entry.source}."
            )
        current = entry.current
        if entry.source == "passphrase" and self._passphrase is not None:
            self._key_of(entry, current.id)

    @property
    def lock(self) -> Lock:
        return self._entry().current.lock

    def for_sealing(self) -> bytes:
        """The current generation's key. Raises SealError: destroyed, missing, or a wrong passphrase."""
        entry = self._entry()
        return self._key_of(entry, entry.current.id)

    def for_opening(self, lock: Lock) -> bytes:
        """The key of a file sealed earlier. Raises SealError, saying which key the file needs and what became of it."""
        if lock.kdf == SCRYPT:
            raise SealError(f"This file was sealed with a passphrase, not with a key file or the key “{self._name}”.")
        wanted = FIRST if lock.kdf == RAW_KEY else lock.salt.hex()
        entry = self._book.find(self._name)
        if entry and any(each.id == wanted for each in entry.generations):
            return self._key_of(entry, wanted)
        raise SealError(self._explain(wanted))

    @contextmanager
    def held(self, *, sealing: bool) -> Iterator[None]:
        if sealing and self._name == DEFAULT:
            create_default(self._book)
        with self._book.shared(self._name):
            yield

    def _entry(self) -> KeyEntry:
        return self._book.get(self._name)

    def _key_of(self, entry: KeyEntry, generation_id: str) -> bytes:
        if generation_id not in self._known:
            generation = next(each for each in entry.generations if each.id == generation_id)
            self._known[generation_id] = Material(entry, self._book.folder, self._passphrase).get(generation)
        return self._known[generation_id].reveal()

    def _explain(self, wanted: str) -> str:
        """Why no generation of this key opens the file."""
        if other := self._book.owner_of(wanted):
            return f"This file was sealed with the key “{other.name}”, not with “{self._name}”."
        gone = next((each for each in self._book.gone() if each.id == wanted), None)
        if gone and gone.how == "destroyed":
            return f"This file was sealed with the key “{gone.name}”, which was destroyed on {day(gone.time)}: it cannot be opened."
        if gone:
            return (
                f"This file was sealed with an earlier key “{gone.name}”, which was rotated away on {day(gone.time)}: it opens "
                "only with a backup of that key."
            )
        if wanted == FIRST:
            path = self._book.folder / f"{DEFAULT}.key"
            return f"The key file {path} is missing, so what it sealed cannot be opened."
        return f"This file was sealed with a key (id {wanted[:8]}…) that is not in {self._book.folder}; import a backup of that key."
