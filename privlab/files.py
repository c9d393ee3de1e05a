"""Writing a file so that a crash leaves the old one or the new one, never a mixture."""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: Bytes written before the disk is asked to begin with them.
_AHEAD = 2 << 20


def replace_atomically(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Write ``data``, whole or in pieces, to ``path`` (mode 0600), durable before this returns.

    A temporary file in the same folder is written and synced, then takes the place of ``path`` in one step, and the
    folder is synced. Leftovers of writers that were killed are removed first; a path has one writer at a time.

    Raises:
        OSError: no room, no permission …; the old file stays as it was.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        leftover.unlink(missing_ok=True)
    part = _write_part(path, data)
    try:
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    to_disk(path.parent)


def create_once(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` (mode 0600) unless it is there already; of several writers at once exactly one wins."""
    part = _write_part(path, data)
    try:
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink()
    to_disk(path.parent)


def overwrite_and_unlink(path: Path) -> None:
    """Replace what ``path`` holds by random bytes, durably, then remove it; nothing happens where it is gone already.

    The old bytes may survive all the same where the disk or the file system writes elsewhere (SSD, copy on write, snapshot).
    """
    try:
        with open(path, "r+b", buffering=0) as file:
            file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    path.unlink()
    to_disk(path.parent)


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock file ``path`` (flock), with others or alone. Waits; a process that dies lets go of it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _write_part(path: Path, data: bytes | Iterable[bytes | memoryview]) -> Path:
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                _write_pieces(file, data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _write_pieces(file: BinaryIO, pieces: Iterable[bytes | memoryview]) -> None:
    """Let the disk work on what is written while the next pieces are made, which is what makes sealing cost little time."""
    begun = written = 0
    for piece in pieces:
        written += file.write(piece)
        if written - begun >= _AHEAD and hasattr(os, "posix_fadvise"):
            file.flush()
            # Linux begins to write the pages out and returns; the promise is still kept by fsync.
            os.posix_fadvise(file.fileno(), begun, written - begun, os.POSIX_FADV_DONTNEED)
            begun = written


def to_disk(path: Path) -> None:
    """Wait until what was written of a file, or of the entries of a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
