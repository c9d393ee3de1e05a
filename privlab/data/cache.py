"""Making a cached file once: alone, beside its place, and visible only when complete. Torch-free."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from privlab.files import to_disk

#: Seconds between two tries to get the lock.
_RETRY = 0.25

#: Progress of something long: amount done, amount in all if known, and what is being done.
Progress = Callable[[int, int | None, str], None]


def quiet(done: int, total: int | None, what: str) -> None:
    """Progress that nobody watches."""


@contextmanager
def making(target: Path, waiting: Callable[[], None]) -> Iterator[Path]:
    """A fresh hidden folder beside ``target`` to make it in, while every other process that wants to make it waits.

    The caller looks again whether ``target`` exists, makes it in the folder, and puts it in place with :func:`publish`.
    The folder is removed in any case, and so is whatever a killed process left behind. The lock is the kernel's: it
    ends with the process that holds it.

    Args:
        target: the file or folder to be made.
        waiting: called every quarter second while another process holds the lock; what it raises ends the wait.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        while not _locked(lock.fileno()):
            waiting()
            time.sleep(_RETRY)
        prefix = f".{target.name}-"
        for left in target.parent.glob(f"{prefix}*"):
            # A client that outlived its killed parent may still write there: what resists is removed next time.
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def publish(complete: Path, target: Path) -> None:
    """Put a complete file or folder in its place in one step. What was there before is replaced."""
    for file in (complete, *complete.glob("*")):
        to_disk(file)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(complete, target)


def is_disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(what: str, need: int, folder: Path) -> str:
    """What to say when ``need`` bytes do not fit in ``folder``. ``what`` ends with its verb: “MNIST needs”."""
    free = shutil.disk_usage(folder).free
    return (
        f"The disk is full: {what} up to {need / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB are free. "
        "Make room, or set PRIVLAB_HOME to a folder on a larger disk."
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
