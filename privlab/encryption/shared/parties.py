"""The three parties as processes: started, listened to, ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from privlab import paths
from privlab.encryption.shared import wire
from privlab.encryption.shared.accounting import Guarantee
from privlab.encryption.shared.environment import python
from privlab.encryption.shared.program import Shape
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedFailed, SharedSettings

#: Seconds that starting and compiling may take, and one stretch of steps between two openings.
_START, _STRETCH = 180.0, 600.0


class Parties:
    """The three processes, from start to end."""

    def __init__(self, settings: SharedSettings, owners: Sequence, promise: Guarantee, shape: Shape):
        self._given = (settings, owners, promise, shape)
        self._children: list[subprocess.Popen] = []
        self._readers: list[_Reader] = []

    def __enter__(self) -> Parties:
        self._exit = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            self._start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        settings, owners, promise, shape = self._given
        self._folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="privlab-shared-")))
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(PARTIES)]
        # Three parties on few cores: threads that wait for each other in a loop would cost most of the time.
        threads = {
            "OMP_NUM_THREADS": "1",
            "OMP_THREAD_LIMIT": "1",
            "PYTHONPATH": str(paths.SOURCE),
            "JAX_PLATFORMS": "cpu",
        }
        for rank, (x, y) in enumerate(owners):
            log = self._folder / f"party{rank}.log"
            with log.open("wb") as errors:
                child = subprocess.Popen(
                    [python(), "-m", "privlab.encryption.shared.party"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=self._folder,
                    env={**os.environ, **threads},
                )
            self._children.append(child)
            task = {
                "rank": rank,
                "addresses": addresses,
                "log": str(log),
                "settings": settings.to_dict(),
                "shape": asdict(shape),
                "sample_rate": promise.sample_rate,
                "x": wire.pack(x),
                "y": wire.pack(y),
            }
            with contextlib.suppress(BrokenPipeError):
                wire.write(child.stdin, task)
            self._readers.append(_Reader(child))

    def ready(self) -> None:
        """Wait until all parties have compiled the step. Raises SharedError."""
        self._together(_START)

    def openings(self) -> Iterator[list[dict[str, Any]]]:
        """What the three parties say at each opening. Raises SharedError where one fails or refuses to go on."""
        settings = self._given[0]
        step = 0
        while step < settings.steps:
            told = self._together(_STRETCH)
            step = min(step + settings.open_every, settings.steps)
            if any(one.get("step") != step for one in told):
                raise SharedError(
                    f"The parties are at steps {[one.get('step') for one in told]} and not all at {step}."
                )
            yield told
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)

    def _together(self, seconds: float) -> list[dict[str, Any]]:
        """The next message of each party, in order of rank."""
        limit, told = time.monotonic() + seconds, {}
        with selectors.DefaultSelector() as waiting:
            for rank, reader in enumerate(self._readers):
                waiting.register(reader.file, selectors.EVENT_READ, rank)
            while len(told) < PARTIES:
                for rank, message in [
                    (rank, reader.next()) for rank, reader in enumerate(self._readers) if rank not in told
                ]:
                    if message is not None:
                        told[rank] = self._judged(rank, message)
                if len(told) == PARTIES:
                    break
                ready = waiting.select(max(0.0, limit - time.monotonic()))
                if not ready:
                    raise SharedFailed(f"The parties have said nothing for {seconds:.0f} s.{self._log()}")
                for key, _ in ready:
                    if not self._readers[key.data].fill():
                        if key.data not in told:
                            raise SharedFailed(
                                f"Party {key.data + 1} of {PARTIES} ended by itself.{self._log(key.data)}"
                            )
                        waiting.unregister(key.fileobj)
        return [told[rank] for rank in range(PARTIES)]

    def _judged(self, rank: int, message: dict[str, Any]) -> dict[str, Any]:
        if message["kind"] == "failed":
            raise SharedFailed(f"Party {rank + 1} of {PARTIES} failed: {message['message']}")
        if message["kind"] == "refused":
            raise SharedError(message["message"])
        return message

    def _log(self, rank: int = 0) -> str:
        with contextlib.suppress(OSError, IndexError):
            lines = (self._folder / f"party{rank}.log").read_text("utf-8", "replace").strip().splitlines()
            return f" Its last words: {lines[-1][:300]}"
        return ""

    def _end(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    stream.close()
        self._exit.close()


class _Reader:
    """Whole messages from a party's output, without waiting for one."""

    def __init__(self, child: subprocess.Popen):
        self.file, self._rest = child.stdout, b""

    def fill(self) -> bool:
        """Take what has come; False at the end."""
        data = os.read(self.file.fileno(), 1 << 20)
        self._rest += data
        return bool(data)

    def next(self) -> dict[str, Any] | None:
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return None
        self._rest = rest
        try:
            return wire.parsed(line)
        except ValueError as error:
            raise SharedFailed(f"A party said something that is no message: {error}") from None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
