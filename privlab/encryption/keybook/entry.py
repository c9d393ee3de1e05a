"""Named keys as the keys folder lists them. The list holds no key material, only where it is."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from privlab.config.encryption import KEY_NAME, KEY_NAME_RULE
from privlab.encryption.sealing import NAMED, RAW_KEY, Lock, SealError
from privlab.files import locked, replace_atomically
from privlab.paths import keys_dir

FORMAT = "privlab-key-1"
#: The key that is used where none is named. Its first generation is the raw key file of that name.
DEFAULT = "privlab"
#: Id of the default key's first generation, which files do not name: they say “key file”.
FIRST = "0" * 32
SOURCES = {"keyfile": "key file", "passphrase": "passphrase", "keyring": "OS keyring"}


@dataclass(frozen=True)
class Generation:
    """One key of a name; rotation adds one and retires the earlier.

    Attributes:
        id: 32 hexadecimal digits, in the header of every file it seals.
        created: Unix time in seconds.
        material: name of the file in the key's folder, or of the entry in the OS keyring, that holds the key.
    """

    id: str
    created: float
    material: str

    @property
    def lock(self) -> Lock:
        return Lock(RAW_KEY) if self.id == FIRST else Lock(NAMED, salt=bytes.fromhex(self.id))


@dataclass(frozen=True)
class KeyEntry:
    """A named key.

    Attributes:
        source: ``keyfile``, ``passphrase`` or ``keyring``: where its material is kept.
        created: Unix time in seconds.
        folder: where files of key material are; empty for PrivLab's own keys folder.
        generations: the last one seals; earlier ones wait for their rotation to be finished. None left: being destroyed.
        doomed: material that is to be destroyed and perhaps is not yet.
    """

    name: str
    source: str
    created: float
    folder: str = ""
    generations: tuple[Generation, ...] = ()
    doomed: tuple[str, ...] = ()

    @property
    def current(self) -> Generation:
        """Raises SealError where the key is being destroyed."""
        if not self.generations:
            raise SealError(f"The key “{self.name}” is being destroyed; finish that with: keys destroy {self.name}.")
        return self.generations[-1]

    @property
    def retired(self) -> tuple[Generation, ...]:
        return self.generations[:-1]


@dataclass(frozen=True)
class Gone:
    """A generation that was destroyed, or rotated away: ``how`` is ``destroyed`` or ``rotated``; ``time`` in Unix seconds."""

    id: str
    name: str
    how: str
    time: float


class Keybook:
    """All named keys of one keys folder; by default PrivLab's own."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or keys_dir()

    def names(self) -> list[str]:
        """Every key, the default one first if it has been made."""
        found = {path.stem for path in self.folder.glob("*.json") if re.fullmatch(KEY_NAME, path.stem)}
        if self._first_file.exists():
            found.add(DEFAULT)
        return sorted(found, key=lambda name: (name != DEFAULT, name))

    def find(self, name: str) -> KeyEntry | None:
        """The key, or None. Raises SealError: a name that cannot be one, a damaged entry, or one of a newer version."""
        path = self._path(name)
        try:
            raw = json.loads(path.read_bytes())
        except FileNotFoundError:
            return self._first_entry() if name == DEFAULT and self._first_file.exists() else None
        except ValueError:
            raise SealError(f"The entry {path} of the key “{name}” is damaged; restore it from a backup.") from None
        entry = from_record(raw, str(path))
        if entry.name != name:
            raise SealError(f"{path} is the entry of another key, “{entry.name}”; give the file its own name back.")
        return entry

    def get(self, name: str) -> KeyEntry:
        """The key. Raises SealError where there is none, saying whether it was destroyed."""
        if found := self.find(name):
            return found
        if gone := next((each for each in self.gone() if each.name == name and each.how == "destroyed"), None):
            raise SealError(f"The key “{name}” was destroyed on {day(gone.time)}; what it sealed cannot be opened.")
        raise SealError(f"There is no key “{name}” in {self.folder}. Create it, or import a backup of it.")

    def readable(self) -> list[KeyEntry]:
        """Every key whose entry is whole, so that a damaged one takes no other with it."""
        found = []
        for name in self.names():
            with suppress(SealError):
                found.append(self.find(name))
        return [entry for entry in found if entry]

    def owner_of(self, generation_id: str) -> KeyEntry | None:
        """The key that has this generation."""
        return next((e for e in self.readable() if any(g.id == generation_id for g in e.generations)), None)

    def save(self, entry: KeyEntry) -> None:
        """Write ``entry``, durable on return. Only under :meth:`alone`. Raises SealError: no room, no permission …"""
        write(self._path(entry.name), json.dumps(to_record(entry), indent=1).encode())

    def forget(self, name: str) -> None:
        """Drop the entry; its material must be gone already. Only under :meth:`alone`."""
        self._path(name).unlink(missing_ok=True)

    def gone(self) -> list[Gone]:
        """Generations that are no more, oldest first."""
        try:
            return [Gone(**item) for item in json.loads((self.folder / ".gone.json").read_bytes())]
        except FileNotFoundError:
            return []

    def note_gone(self, name: str, generations: tuple[Generation, ...], how: str) -> None:
        """Remember that ``generations`` are no more, so that their files can say why they do not open."""
        with locked(self.folder / ".gone.lock", exclusive=True):
            known = self.gone()
            ids = {each.id for each in known}
            known += [Gone(each.id, name, how, time.time()) for each in generations if each.id not in ids]
            write(self.folder / ".gone.json", json.dumps([asdict(each) for each in known]).encode())

    def note_back(self, entry: KeyEntry) -> None:
        """Forget that the generations of ``entry`` were gone: a backup brought them back."""
        with locked(self.folder / ".gone.lock", exclusive=True):
            ids = {each.id for each in entry.generations}
            kept = [asdict(each) for each in self.gone() if each.id not in ids]
            write(self.folder / ".gone.json", json.dumps(kept).encode())

    @contextmanager
    def shared(self, name: str) -> Iterator[None]:
        """While a file is sealed or opened: the key is neither rotated nor destroyed. Not to be nested in :meth:`alone`."""
        with locked(self._path(name).with_suffix(".lock"), exclusive=False):
            yield

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """While the key changes: no file is being sealed with it. Waits for those that are."""
        with locked(self._path(name).with_suffix(".lock"), exclusive=True):
            yield

    def _path(self, name: str) -> Path:
        check_name(name)
        return self.folder / f"{name}.json"

    @property
    def _first_file(self) -> Path:
        return self.folder / f"{DEFAULT}.key"

    def _first_entry(self) -> KeyEntry:
        made = self._first_file.stat().st_mtime
        return KeyEntry(DEFAULT, "keyfile", made, generations=(Generation(FIRST, made, self._first_file.name),))


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a key (it is also the name of a file). Raises SealError."""
    if not re.fullmatch(KEY_NAME, name):
        raise SealError(f"The key name {name!r} is refused: {KEY_NAME_RULE}.")


def new_generation(name: str) -> Generation:
    """A generation to be, with a fresh id and a fresh name for its material."""
    return Generation(secrets.token_hex(16), time.time(), new_material(name))


def new_material(name: str) -> str:
    return f"{name}.{secrets.token_hex(8)}.key"


def to_record(entry: KeyEntry) -> dict[str, Any]:
    """``entry`` as plain values."""
    return {"format": FORMAT, **asdict(entry)}


def from_record(raw: Any, where: str) -> KeyEntry:
    """Read :func:`to_record`; ``where`` is named in a refusal. Raises SealError: damaged, or of a newer version."""
    try:
        fields = dict(raw)
        form = fields.pop("format")
        if form != FORMAT:
            raise SealError(f"{where} has format {form!r}; this PrivLab reads {FORMAT!r}. Update PrivLab.")
        made = tuple(Generation(**each) for each in fields.pop("generations"))
        entry = replace(KeyEntry(**fields), generations=made, doomed=tuple(fields.get("doomed", ())))
        names = [each.material for each in made] + list(entry.doomed)
        for each in made:
            bytes.fromhex(each.id)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SealError(f"{where} is damaged; restore it from a backup.") from None
    check_name(entry.name)
    # Material is opened and overwritten by name, so a name must not lead out of the folder.
    if entry.source not in SOURCES or any(Path(name).name != name or not name for name in names):
        raise SealError(f"{where} is damaged; restore it from a backup.")
    return entry


def write(path: Path, data: bytes) -> None:
    """Replace ``path``, durable on return. Raises SealError in place of OSError."""
    try:
        replace_atomically(path, data)
    except OSError as error:
        raise SealError(f"{path} cannot be written: {error.strerror}.") from None


def day(moment: float) -> str:
    """A Unix time as a local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
