"""A key in one file, for a safe place: always sealed with a passphrase of its own."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

from privlab.encryption.keybook.create import check_folder
from privlab.encryption.keybook.entry import DEFAULT, FIRST, Keybook, KeyEntry, from_record, new_material, to_record
from privlab.encryption.keybook.sources import Material, check_keyring
from privlab.encryption.keys import KEY_SIZE, Passphrase
from privlab.encryption.sealing import SealError, seal, unseal
from privlab.encryption.secret import Secret

FORMAT = "privlab-key-backup-1"


def export_key(name: str, backup: Passphrase, *, book: Keybook | None = None) -> bytes:
    """The key ``name`` with all its generations, sealed with ``backup``.

    A key of source ``passphrase`` stays under its own passphrase in there, which is needed as well after an import.

    Raises:
        SealError: no such key, or material that cannot be reached.
    """
    book = book or Keybook()
    with book.shared(name):
        entry = book.get(name)
        _ = entry.current
        material = Material(entry, book.folder)
        kept = {each.id: material.raw(each) for each in entry.generations}
    content = {
        "format": FORMAT,
        "key": to_record(replace(entry, folder="", doomed=())),
        "material": {name: base64.b64encode(each.reveal()).decode() for name, each in kept.items()},
    }
    return seal(json.dumps(content).encode(), backup.lock, backup.for_sealing())


def import_key(
    data: bytes,
    backup: Passphrase,
    *,
    name: str | None = None,
    source: str | None = None,
    folder: Path | None = None,
    book: Keybook | None = None,
) -> KeyEntry:
    """Bring back a key that :func:`export_key` wrote; files that say they need it open again.

    Args:
        name: another name for it; runs find their key by name.
        source: ``keyfile`` or ``keyring``, to keep it otherwise than before; a passphrase stays a passphrase.
        folder: as for :func:`privlab.encryption.keybook.create_key`.

    Raises:
        SealError: not a backup, a wrong passphrase, damaged, of a newer version, or a key that is here already.
    """
    book = book or Keybook()
    entry, kept = _read(data, backup)
    entry = replace(entry, name=name or entry.name, folder=str(folder.absolute()) if folder else "")
    if source and source != entry.source:
        if "passphrase" in (source, entry.source):
            raise SealError(f"The key was kept as {entry.source} and cannot be imported as {source}.")
        entry = replace(entry, source=source)
    check_folder(folder, entry.source)
    if entry.source == "keyring":
        check_keyring()
    # The first generation of the default key is known by the name of its file alone.
    if any(each.id == FIRST for each in entry.generations) and (entry.name != DEFAULT or folder):
        raise SealError(
            f"This is the default key; it can only be imported under its own name “{DEFAULT}”, without a folder."
        )
    named = (
        each if each.id == FIRST else replace(each, material=new_material(entry.name)) for each in entry.generations
    )
    entry = replace(entry, generations=tuple(named))
    with book.alone(entry.name):
        if book.find(entry.name):
            raise SealError(f"There is a key “{entry.name}” here already; import this one under another name.")
        for each in entry.generations:
            if other := book.owner_of(each.id):
                raise SealError(f"This key is here already, as “{other.name}”.")
        material = Material(entry, book.folder)
        for each in entry.generations:
            material.put_raw(each, kept[each.id])
        book.save(entry)
        book.note_back(entry)
    return entry


def _read(data: bytes, backup: Passphrase) -> tuple[KeyEntry, dict[str, Secret]]:
    """The key in a backup and what is kept of each generation. Raises SealError."""
    try:
        content = json.loads(unseal(data, backup.for_opening))
        kept = {name: Secret(base64.b64decode(text)) for name, text in content.pop("material").items()}
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SealError("This sealed file is no backup of a key.") from None
    if content.get("format") != FORMAT:
        raise SealError(
            f"The backup has format {content.get('format')!r}; this PrivLab reads {FORMAT!r}. Update PrivLab."
        )
    entry = from_record(content.get("key"), "The backup's key")
    if set(kept) != {each.id for each in entry.generations} or not kept:
        raise SealError("The backup's key is damaged: material is missing.")
    if entry.source != "passphrase" and any(each.size != KEY_SIZE for each in kept.values()):
        raise SealError(f"The backup's key is damaged: a key has exactly {KEY_SIZE} bytes.")
    return entry, kept
