"""Whether an app is alive for this folder: it holds a lock that the kernel releases with its process, however that ends."""

from __future__ import annotations

import fcntl
import time
from typing import IO

from privlab import paths


class AppLock:
    """The right to start workers in this ``PRIVLAB_HOME``; one process holds it at a time."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self) -> bool:
        """Take the lock if nobody has it. A worker that looks (:func:`app_is_alive`) holds it for an instant: tried thrice."""
        file = open(paths.home() / "dispatcher.lock", "a")  # noqa: SIM115 - stays open as long as the lock is held
        for pause in (0.02, 0.05, None):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if pause is not None:
                    time.sleep(pause)
                continue
            self._file = file
            return True
        file.close()
        return False

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def app_is_alive() -> bool:
    """Whether some process holds the :class:`AppLock` of this folder."""
    with open(paths.home() / "dispatcher.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
