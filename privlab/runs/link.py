"""The app's end of the zygote: starts it, sends requests, hears what became of the workers. Torch-free."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from privlab import paths

log = logging.getLogger(__name__)

ZYGOTE = (sys.executable, "-m", "privlab.runs.zygote")
#: A zygote that dies before it is warm is started again after this long, doubled each time.
_FIRST_DELAY = 1.0
_LAST_DELAY = 60.0


class ZygoteLink:
    """One zygote at a time, started again when it dies.

    Attributes:
        ready: it is warm and takes requests.
        generation: counts zygotes; a request sent to an earlier one is lost.
        failures: how many in a row died before they were warm.
    """

    def __init__(self, store_url: str, command: Sequence[str] = ZYGOTE):
        self._store_url = store_url
        self._command = tuple(command)
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._unread = b""
        self._not_before = 0.0
        self.ready = False
        self.generation = 0
        self.failures = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ensure(self, now: float) -> None:
        """Start a zygote if there is none. ``now`` is a monotonic time in seconds."""
        if self._process is None and now >= self._not_before:
            self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        environment = os.environ | {
            "PRIVLAB_STORE": self._store_url,
            "PYTHONPATH": paths.python_path(),
            # One thread each, also in NumPy's own pool, which would not survive the fork.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            # scikit-learn brings pyarrow along, whose allocator would start a thread.
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
            # Asking whether CUDA is there must not start CUDA.
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        }
        # A session of its own: Ctrl-C in the terminal reaches the app only, which lets the workers come to a checkpoint.
        with open(paths.log_dir() / "zygote.log", "ab") as log_file, theirs:
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs,
                stdout=log_file,
                stderr=log_file,
                env=environment,
                start_new_session=True,
            )
        self._socket = ours
        self._unread = b""
        self.generation += 1

    def hear(self, now: float) -> list[dict[str, Any]]:
        """What the zygote said since the last call. Notices its death."""
        if self._socket is None:
            return []
        gone = False
        while not gone:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            gone = not data
            self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if message.pop("ready", False):
                self.ready = True
                self.failures = 0
        if gone:
            self._lost(now)
        return [message for message in messages if message]

    def _lost(self, now: float) -> None:
        if not self.ready:
            self.failures += 1
            self._not_before = now + min(_FIRST_DELAY * 2 ** (self.failures - 1), _LAST_DELAY)
        log.warning("the zygote ended%s", "" if self.ready else " before it was warm")
        self.close()

    def send(self, **request: Any) -> bool:
        """Ask for a worker. False if the zygote cannot take it now."""
        if self._socket is None or not self.ready:
            return False
        line = json.dumps(request).encode() + b"\n"
        try:
            # Requests are far smaller than the socket's buffer, so one is sent whole or not at all.
            return self._socket.send(line) == len(line)
        except OSError:
            return False

    def close(self) -> None:
        """End the zygote: it leaves when the socket closes. Its workers stay."""
        self.ready = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def last_words(self) -> str:
        """The last line of the zygote's log, which names the error that it died of."""
        file = paths.log_dir() / "zygote.log"
        lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
        return lines[-1] if lines else ""
