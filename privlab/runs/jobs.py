"""Work in a process of its own that this one listens to: the request on its standard input, JSON lines on its standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Literal

from privlab import paths

State = Literal["running", "finished", "stopped", "failed"]


class Job:
    """One job under way or over. Subclasses say in :meth:`hear` what its lines mean.

    Attributes:
        state: how it stands.
        message: why it failed, as a sentence.

    Args:
        module: run as ``python -m module``; says ``finished``, ``stopped`` or ``refused`` (``message``) last.
        given: bytes for its standard input, which is closed after them where ``ends``; a job that watches for whoever started it
            wants it open.
        log: file in the log folder for what it says on standard error.
        threads: of its processor.
        name: what it is called in messages.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, module: str, given: bytes, *, log: str, threads: int, name: str, ends: bool = False):
        self.state: State = "running"
        self.message = ""
        self._name, self._log, self._stopped, self._over = name, log, False, threading.Event()
        with (paths.log_dir() / log).open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=paths.SOURCE,
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            )
        threading.Thread(target=self._listen, args=(given, ends), name=name, daemon=True).start()

    def hear(self, kind: str, line: dict[str, Any]) -> None:
        """Take in one line; the last one and unknown kinds too."""

    def stop(self) -> None:
        """Ask it to end. Harmless when it has ended."""
        self._stopped = True
        self._process.terminate()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is over; whether it is."""
        return self._over.wait(seconds)

    def _listen(self, given: bytes, ends: bool) -> None:
        with self._process as process:
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(given)
                    process.stdin.flush()
                    if ends:
                        process.stdin.close()
                for line in process.stdout:
                    # What is killed may leave half a line.
                    if line.endswith(b"\n"):
                        self._take(json.loads(line))
                process.wait()
                if self.state == "running":
                    words = f"The {self._name} process ended by itself (status {process.returncode}); see {self._log} in the logs."
                    self._end(*(("stopped", "") if self._stopped else ("failed", words)))
            except (OSError, ValueError) as error:
                self._end("failed", f"The {self._name} process could not be read, or its result not kept: {error}.")
            finally:
                process.kill()
        self._over.set()

    def _take(self, line: dict[str, Any]) -> None:
        kind = line.pop("kind")
        self.hear(kind, line)
        if kind == "refused":
            self._end("failed", line["message"])
        elif kind in ("finished", "stopped"):
            self._end(kind, "")

    def _end(self, state: State, message: str) -> None:
        self.state, self.message = state, message
