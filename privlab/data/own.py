"""Models that somebody added on this machine: kept by their content, so that a run's settings name it. Torch-free.

``own-<slug>-<8 digits>`` is a copy in PrivLab's folder. The digits are of the SHA-256 of what was copied: a folder that changes
later changes nothing here, and a worker needs no network.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from privlab.data.cache import making, publish
from privlab.data.fetch import FetchError
from privlab.data.weightfiles import CONFIG, FILES, SUMS, is_sound, weights_folder
from privlab.files import replace_atomically

#: How every key of an added model begins; no model that PrivLab brings has such a name.
PREFIX = "own-"
#: Name, source and revision of an added model, beside its files.
_FACTS = "own.json"
#: The same of models that were removed, so that a page can say where one came from.
_REMOVED = "removed.json"
_LONGEST_SLUG = 24
_DIGITS = 8

#: A file's bytes in pieces.
Pieces = Iterable[bytes]


@dataclass(frozen=True)
class Added:
    """An added model.

    Attributes:
        key: name in settings.
        name: for people.
        source: the folder or the name on the hub that it was copied from.
        revision: commit on the hub; empty for a folder.
        sha256: of its files' sums, which the key's digits begin.
        config: its config.json.
    """

    key: str
    name: str
    source: str
    revision: str
    sha256: str
    config: dict

    @property
    def origin(self) -> str:
        """Where it is from, in words: a folder, or a name on the hub with the commit."""
        return f"{self.source} at {self.revision[:12]}" if self.revision else self.source


def is_own(key: str) -> bool:
    """Whether ``key`` names a model that was added, here or elsewhere."""
    return key.startswith(PREFIX)


_listed: tuple[tuple[Path, int], Mapping[str, Added]] | None = None


def added() -> Mapping[str, Added]:
    """The added models on this machine by key, by name. Looked up again only where the folder has changed."""
    global _listed
    place = weights_folder("")
    try:
        stamp = place, place.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    known = _listed
    if known is None or known[0] != stamp:
        found = sorted(_found(place), key=lambda each: (each.name.casefold(), each.key))
        known = _listed = stamp, MappingProxyType({each.key: each for each in found})
    return known[1]


def _forget() -> None:
    """A clock may tick too slowly to tell a folder's two changes apart; those of this process need none."""
    global _listed
    _listed = None


def _found(place: Path) -> Iterator[Added]:
    for folder in place.glob(f"{PREFIX}*"):
        try:
            facts = json.loads((folder / _FACTS).read_bytes())
            config = json.loads((folder / CONFIG).read_bytes())
            if (folder / SUMS).is_file():
                yield Added(
                    folder.name, *(str(facts[name]) for name in ("name", "source", "revision", "sha256")), config
                )
        except (OSError, ValueError, KeyError, TypeError):
            # Not whole, as after a disk error: as good as not here.
            continue


def keep(
    files: Mapping[str, Callable[[], Pieces]],
    *,
    name: str,
    source: str,
    revision: str = "",
    progress: Callable[[int], None] = lambda done: None,
) -> str:
    """Copy a model into PrivLab's folder and return its key; that of the copy which is here, where there is one.

    Args:
        files: each of ``FILES``, opened when asked for, in pieces.
        progress: told bytes written so far; what it raises ends the work and leaves nothing behind.

    Raises:
        OSError: the disk is full, or a file cannot be read or written.
    """
    with making(weights_folder(f"{PREFIX}new"), lambda: progress(0)) as folder:
        complete, sums, written = folder / "complete", {}, 0
        complete.mkdir()
        for file in FILES:
            digest = hashlib.sha256()
            with (complete / file).open("wb") as out:
                for piece in files[file]():
                    digest.update(piece)
                    written += out.write(piece)
                    progress(written)
            sums[file] = digest.hexdigest()
        content = content_of(sums)
        if (same := _same(content)) and is_sound(weights_folder(same)):
            return same
        key = same or f"{PREFIX}{slug(name)}-{content[:_DIGITS]}"
        facts = {"name": name, "source": source, "revision": revision, "sha256": content}
        (complete / _FACTS).write_bytes(_json(facts))
        (complete / SUMS).write_bytes(_json(sums))
        publish(complete, weights_folder(key))
    _forget()
    return key


def content_of(sums: Mapping[str, str]) -> str:
    """One SHA-256 for the SHA-256 of each of ``FILES``."""
    return hashlib.sha256("".join(f"{sums[file]}  {file}\n" for file in FILES).encode()).hexdigest()


def _same(content: str) -> str | None:
    return next((each.key for each in added().values() if each.sha256 == content), None)


def slug(name: str) -> str:
    """A name as letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-") or "model"


def remove(key: str) -> Added:
    """Remove an added model; where it came from is remembered for the runs that began from it.

    Raises:
        FetchError: no such model is on this machine.
        OSError: its folder cannot be removed.
    """
    here = added()
    if key not in here:
        known = f"; there are {', '.join(here)}" if here else "; none has been added"
        raise FetchError(f"There is no added model “{key}” on this machine{known}.")
    facts = {name: value for name, value in asdict(here[key]).items() if name != "config"}
    replace_atomically(weights_folder(_REMOVED), _json(_removed() | {key: facts}))
    # First what makes it a model, so that one cut off in the middle is none.
    (weights_folder(key) / SUMS).unlink()
    shutil.rmtree(weights_folder(key))
    _forget()
    return here[key]


def _removed() -> dict[str, dict]:
    try:
        found = json.loads(weights_folder(_REMOVED).read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def origin(key: str) -> str | None:
    """Where an added model came from, in words; None where nobody knows it here."""
    known = added().get(key) or _gone(key)
    return known.origin if known else None


def title(key: str) -> str:
    """Name of an added model for people, also of one that is not here."""
    known = added().get(key) or _gone(key)
    return known.name if known else key


def _gone(key: str) -> Added | None:
    """What is remembered of a model that was removed."""
    try:
        return Added(**_removed()[key], config={})
    except (KeyError, TypeError):
        return None


def missing(key: str) -> str:
    """One sentence for an added model that is not on this machine: what to do."""
    where = origin(key)
    again = (
        f"add it again from {where}"
        if where
        else "add it again from the folder or hub name that it came from (the digits at the end name its content)"
    )
    named = "" if title(key) == key else f" ({title(key)})"
    return f"The model {key}{named} is not on this machine: {again}, by “python -m privlab data add-model”."


def _json(what: dict) -> bytes:
    return json.dumps(what, ensure_ascii=False, indent=1).encode()
