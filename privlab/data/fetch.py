"""Fetching a data set into PrivLab's own folder: verified, atomic, and safe to try again. Torch-free."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from privlab.data.cache import Progress, disk_full, is_disk_full, making, publish, quiet
from privlab.data.catalogue import DATASETS, DatasetFacts, cache_file
from privlab.data.checksums import PARTS, SHA256, keep_first, mismatch
from privlab.data.client import DiskFull, SourceFailed
from privlab.data.hubtexts import HUB_SOURCES
from privlab.data.sources import SOURCES, Arrays, Source
from privlab.data.textsources import TEXT_SOURCES

#: Where the data sets that come with PrivLab lie.
EMBEDDED = Path(__file__).parent / "embedded"


class FetchError(Exception):
    """A data set could not be fetched or read. The message says in plain words what failed and what to do."""


def fetch(key: str, progress: Progress | None = None) -> Path:
    """Make data set ``key`` ready to load and return the file it lies in (the folder, if it comes with PrivLab).

    Nothing is downloaded if it is here already and unharmed. The result appears under its name only when complete and
    verified; an interrupted fetch leaves at most a hidden folder that the next one removes. Two fetches of the same data
    set at once: the second waits for the first.

    Args:
        key: a key of DATASETS.
        progress: called with bytes done, bytes in all, and what is being done.

    Raises:
        FetchError: unknown data set, no source could deliver, wrong checksum from all of them, or the disk is full.
    """
    if key not in DATASETS:
        raise FetchError(f"There is no data set “{key}”; choose one of {', '.join(DATASETS)}.")
    facts, say = DATASETS[key], progress or quiet
    if facts.embedded:
        return EMBEDDED
    target, total = cache_file(key), facts.download_bytes
    try:
        with making(target, lambda: say(0, total, f"waiting for another process to fetch {facts.title}")) as folder:
            if not _is_sound(key, target):
                publish(_bring(facts, folder, say), target)
    except (DiskFull, OSError) as error:
        raise _disk_error(facts, error, target.parent) from error
    size = target.stat().st_size
    say(size, size, f"{facts.title} is ready")
    return target


def read(path: Path) -> Arrays:
    """The arrays of a fetched or embedded file.

    Raises:
        FetchError: the file is damaged.
    """
    try:
        # Opened here: np.load leaves a damaged file open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise FetchError(f"{path} is damaged ({error}); fetch the data set again.") from error


def _bring(facts: DatasetFacts, folder: Path, say: Progress) -> Path:
    """Try the sources in order; returns the verified file, made in ``folder``."""
    failures, total = [], facts.download_bytes
    for number, source in enumerate(_sources(facts.key)):
        own = folder / str(number)
        own.mkdir()
        try:
            arrays = source.get(own, partial(_report, say, total, f"fetching {facts.title} ({source.name})"))
            say(total, total, f"checking {facts.title}")
            problem = mismatch(facts.key, arrays)
            if problem:
                raise SourceFailed(f"wrong checksum: {problem}")
            keep_first(facts.key, arrays)
            return _write(arrays, SHA256.get(facts.key, PARTS), folder / "complete.npz")
        except DiskFull:
            raise
        except SourceFailed as failure:
            failures.append(f"{source.name}: {str(failure).rstrip('.')}")
        finally:
            shutil.rmtree(own)
    raise FetchError(
        f"{facts.title} could not be fetched. {'; '.join(failures)}. "
        f"Check the network connection and run “python -m privlab data fetch {facts.key}” again."
    )


def _sources(key: str) -> tuple[Source, ...]:
    return (SOURCES | TEXT_SOURCES | HUB_SOURCES)[key]


def _report(say: Progress, total: int, what: str, done: int) -> None:
    # Clients keep copies while they work, so the folder can outgrow the download.
    say(min(done, total), total, what)


def _write(arrays: Arrays, parts: Iterable[str], path: Path) -> Path:
    # Not compressed: a later load is then a plain read, and zip still guards each array with a CRC.
    np.savez(path, **{part: np.ascontiguousarray(arrays[part]) for part in parts})
    return path


def _is_sound(key: str, path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return mismatch(key, read(path)) is None
    except FetchError:
        return False


def _disk_error(facts: DatasetFacts, error: Exception, folder: Path) -> FetchError:
    if isinstance(error, DiskFull) or (isinstance(error, OSError) and is_disk_full(error)):
        records = facts.train_records + facts.test_records
        # The client's cache, its archive and what is unpacked from it, then the records as bytes.
        need = 3 * facts.download_bytes + records * int(np.prod(facts.shape))
        return FetchError(disk_full(f"{facts.title} needs", need, folder))
    return FetchError(f"{facts.title} could not be kept in {folder}: {error}.")
