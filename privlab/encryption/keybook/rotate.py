"""Rotation: a new key takes the place of an old one, in front of every file that the old one opens.

Order, so that a kill at any moment loses nothing: the new generation is kept and listed as current; from then on every
save uses it. File by file the wrapped data key is replaced, each in one durable step. Only when no file needs the old
generation any more is its material destroyed. Run again, an interrupted rotation goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from privlab.encryption.keybook.create import new_secret
from privlab.encryption.keybook.entry import (
    Generation,
    Keybook,
    KeyEntry,
    new_generation,
    new_material,
)
from privlab.encryption.keybook.sources import Material
from privlab.encryption.keybook.usage import files_of, id_of
from privlab.encryption.keys import Passphrase
from privlab.encryption.sealing import HEADER_SIZE, Lock, SealError, lock_of, rewrap, sealed_parts, unseal
from privlab.encryption.secret import Secret
from privlab.files import replace_atomically

#: Called with files done and files to do.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rotation:
    """What was done: files given the new key, and whether an interrupted rotation was finished on the way."""

    name: str
    files: int
    resumed: bool


def rotate_key(
    name: str,
    *,
    passphrase: Passphrase | None = None,
    new_passphrase: Passphrase | None = None,
    fresh_data_keys: bool = False,
    folders: Sequence[Path] | None = None,
    progress: Progress | None = None,
    book: Keybook | None = None,
) -> Rotation:
    """Give the key ``name`` new material and make every file that it opens need the new one.

    The files' contents are not encrypted again: each has a data key of its own, which is wrapped anew. Whoever had the old
    key and a file before could have noted that data key; it goes out of use at the next save of the file, or now with
    ``fresh_data_keys``. Copies elsewhere (exports, backups) are not found and need a backup of the old key.

    Args:
        passphrase: of a key of source ``passphrase``.
        new_passphrase: takes its place; the old one opens nothing afterwards.
        fresh_data_keys: encrypt every file anew under a new data key, which takes longer.
        folders: where sealed files are looked for; by default the runs folder.

    Raises:
        SealError: no such key, a wrong passphrase, or files that cannot be read. The old generation is then kept, and so is
            everything that it opens; repeat the rotation once the cause is gone.
    """
    book = book or Keybook()
    entry = book.get(name)
    if new_passphrase and entry.source != "passphrase":
        raise SealError(f"The key “{name}” is kept as {entry.source}; it has no passphrase to change.")
    resumed, files = bool(entry.retired), 0
    opener = _opener(book, entry, passphrase, new_passphrase)
    work = _Work(book, name, fresh_data_keys, folders, progress)
    if resumed:
        files += work.finish(opener)
    if not resumed or (new_passphrase and opener is not new_passphrase):
        _begin(book, name, opener, new_passphrase)
        files += work.finish(new_passphrase or opener)
    return Rotation(name, files, resumed)


def _opener(book: Keybook, entry: KeyEntry, *offered: Passphrase | None) -> Passphrase | None:
    """The passphrase that opens the current generation: after an interrupted change it is the new one. Raises SealError."""
    if entry.source != "passphrase":
        return None
    given = [each for each in offered if each is not None]
    for number, each in enumerate(given, 1):
        try:
            Material(entry, book.folder, each).get(entry.current)
            return each
        except SealError:
            if number == len(given):
                raise
    raise SealError(f"The key “{entry.name}” opens with a passphrase; give the passphrase.")


def _begin(book: Keybook, name: str, passphrase: Passphrase | None, new_passphrase: Passphrase | None) -> None:
    """List a new generation as the current one, and keep all of them under the new passphrase if there is one."""
    with book.alone(name):
        entry = book.get(name)
        now = Material(entry, book.folder, passphrase)
        later = Material(entry, book.folder, new_passphrase or passphrase)
        kept, doomed = entry.generations, entry.doomed
        if new_passphrase:
            kept = tuple(replace(each, material=new_material(name)) for each in entry.generations)
            for old, new in zip(entry.generations, kept, strict=True):
                later.put(new, now.get(old))
            doomed += tuple(each.material for each in entry.generations)
        else:
            # A key that does not open must not be retired: its files could not be given the new one.
            now.get(entry.current)
        generation = new_generation(name)
        later.put(generation, new_secret())
        book.save(replace(entry, generations=(*kept, generation), doomed=doomed))


@dataclass(frozen=True)
class _Work:
    book: Keybook
    name: str
    fresh_data_keys: bool
    folders: Sequence[Path] | None
    progress: Progress | None

    def finish(self, passphrase: Passphrase | None) -> int:
        """Give every file the current generation, then destroy the retired ones; returns how many files were changed."""
        entry = self.book.get(self.name)
        material = Material(entry, self.book.folder, passphrase)
        keys = {each.id: material.get(each) for each in entry.generations}
        waiting = self._waiting(entry)
        refused: list[str] = []
        for done, path in enumerate(waiting, 1):
            try:
                self._change(path, entry, keys)
            except (SealError, OSError) as error:
                refused.append(f"{path}: {error}")
            if self.progress:
                self.progress(done, len(waiting))
        if refused:
            raise SealError(
                f"{len(refused)} of {len(waiting)} files could not be given the new key, so the earlier key “{self.name}” is "
                f"kept and nothing is lost. Repeat the rotation when this is mended: {'; '.join(refused[:3])}"
            )
        with self.book.alone(self.name):
            entry = self.book.get(self.name)
            if self._waiting(entry):
                raise SealError(f"New files of the earlier key “{self.name}” appeared meanwhile; repeat the rotation.")
            self._drop(entry, material)
        return len(waiting)

    def _waiting(self, entry: KeyEntry) -> list[Path]:
        return files_of(replace(entry, generations=entry.retired), self.folders)

    def _change(self, path: Path, entry: KeyEntry, keys: dict[str, Secret]) -> None:
        """One file, in one durable step, while nobody saves."""
        with self.book.alone(self.name):
            try:
                sealed = path.read_bytes()
            except FileNotFoundError:
                return
            if id_of(lock_of(sealed[:HEADER_SIZE])) == entry.current.id:
                return

            def find(lock: Lock) -> bytes:
                return keys[id_of(lock)].reveal()

            lock, key = entry.current.lock, keys[entry.current.id]
            pieces: Iterable[bytes | memoryview]
            if self.fresh_data_keys:
                pieces = sealed_parts(unseal(sealed, find), lock, key.reveal())
            else:
                pieces = rewrap(sealed, find, lock, key.reveal())
            replace_atomically(path, pieces)

    def _drop(self, entry: KeyEntry, material: Material) -> None:
        """Destroy what no file needs any more; listed first, so that a kill in between is made up for next time."""
        gone: tuple[Generation, ...] = entry.retired
        doomed = (*entry.doomed, *(each.material for each in gone))
        self.book.note_gone(self.name, gone, "rotated")
        self.book.save(replace(entry, generations=(entry.current,), doomed=doomed))
        for name in doomed:
            material.destroy(name)
        self.book.save(replace(entry, generations=(entry.current,), doomed=()))
