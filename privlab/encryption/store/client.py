"""The owners' side of an encrypted store: encrypts, sends, fetches, checks and decrypts, chunk by chunk."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator

import numpy as np

from privlab.encryption.store.checks import Turns, checked_vector
from privlab.encryption.store.contract import StoreError, Traffic
from privlab.encryption.store.frames import PROTOCOL, Header, Link, LinkDown
from privlab.encryption.store.keystream import STATE
from privlab.encryption.store.scheme import Scheme, chunk_slice, chunks_of

#: How long a child may take to end after its connection was closed.
_END_SECONDS = 10.0


class EncryptedStore:
    """A :class:`~privlab.encryption.store.contract.ParameterStore` whose server sees ciphertext only.

    Args:
        scheme: the keys and the encryption; they stay here.
        link: the connection to the server.
        child: the server's process if this store started it; ended by ``close``.

    Raises:
        StoreError: the server refuses the greeting, another version for example.
    """

    def __init__(self, scheme: Scheme, owners: int, link: Link, child: subprocess.Popen | None = None):
        self.mode, self.dimension, self.owners = scheme.mode, scheme.dimension, owners
        self._scheme, self._link, self._child = scheme, link, child
        self._count = chunks_of(self.dimension)
        self._turns = Turns(owners)
        self._seconds = Traffic().seconds
        self._over: str | None = None  # why nothing can be asked any more
        try:
            hello = {
                "kind": "hello",
                "version": PROTOCOL,
                "mode": self.mode,
                "dimension": self.dimension,
                "owners": owners,
            }
            self._ask(hello, scheme.public)
        except StoreError as error:
            lost = self._over
            self.close()
            raise StoreError(f"The store server did not take this client: {lost or error}") from None

    @property
    def revision(self) -> int:
        return self._turns.revision

    @property
    def traffic(self) -> Traffic:
        """Costs so far; a copy."""
        return Traffic(self._link.sent, self._link.received, dict(self._seconds))

    @property
    def server_pid(self) -> int | None:
        """The server's process on this machine; None if it runs elsewhere."""
        return self._child.pid if self._child else None

    def server_memory(self) -> int:
        """The most memory that the server has held so far, in bytes."""
        return self._ask({"kind": "memory"})[0]["peak"]

    def put(self, vector: np.ndarray, revision: int) -> None:
        values = self._checked(vector)
        turns = Turns(self.owners)
        turns.restart(revision)
        # From here on the old state cannot be read any more: its pads are forgotten. A put that fails leaves an empty store.
        self._turns = Turns(self.owners)
        self._scheme.restart()
        self._hand_over("put", STATE, values, revision)
        self._scheme.settle()
        self._turns = turns

    def contribute(self, owner: int, update: np.ndarray, revision: int) -> None:
        self._need_open()
        self._turns.check(owner, revision)
        self._hand_over("contribute", owner, self._checked(update), revision)
        self._turns.give(owner, revision)

    def commit(self, revision: int) -> None:
        self._need_open()
        self._turns.check_commit(revision)
        self._ask({"kind": "commit", "revision": revision})
        self._turns.commit(revision)
        self._scheme.settle()

    def open(self) -> np.ndarray:
        self._need_open()
        self._turns.need_state()
        self._transmit(self._link.pack({"kind": "open", "mode": self.mode}))
        values, failed, first = np.empty(self.dimension), None, self._link.frames_sent
        # All chunks are fetched even after one has failed, so that the server is not left waiting with the rest.
        for index in range(self._count):
            try:
                header, body = self._answer(first)
                if failed is None:
                    self._check_place(header, index)
                    with self._clock("decrypt"):
                        values[chunk_slice(self.dimension, index)] = self._scheme.decrypt(body, index)
            except StoreError as error:
                if self._over or isinstance(error, Refusal):
                    raise
                failed = failed or error
        if failed is not None:
            raise failed
        return values

    def raw(self, most: int = 1 << 16) -> bytes:
        self._turns.need_state()
        return self._ask({"kind": "raw", "most": most})[1]

    def close(self) -> None:
        self._over = self._over or "This store is closed."
        self._link.close()
        if self._child is None:
            return
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        self._need_open()
        with self._clock("encrypt"):
            values = checked_vector(vector, self.dimension)
            self._scheme.check(values)
        return values

    def _hand_over(self, what: str, owner: int, values: np.ndarray, revision: int) -> None:
        """Encrypt and send a vector; it counts at the server only when all of it has come."""
        first = self._link.frames_sent + 1
        name = {"mode": self.mode, "run": self._scheme.run, "owner": owner, "revision": revision, "count": self._count}
        with self._clock("encrypt"):
            self._scheme.begin(owner, revision)
        for index in range(self._count):
            with self._clock("encrypt"):
                body = self._scheme.encrypt(values[chunk_slice(self.dimension, index)], index)
                frame = self._link.pack({"kind": "chunk", "what": what, "chunk": index} | name, body)
            self._transmit(frame)
        self._ask({"kind": "end"} | name, first=first)

    def _check_place(self, header: Header, index: int) -> None:
        """Refuse a chunk of the state that is not the one asked for."""
        due = {
            "mode": self.mode,
            "run": self._scheme.run,
            "revision": self.revision,
            "chunk": index,
            "count": self._count,
        }
        for name, value in due.items():
            if header.get(name) != value:
                raise StoreError(
                    f"The server sent a state whose {name} is {header.get(name)}; it should be {value}. Refused."
                )

    def _ask(self, header: Header, body: bytes = b"", first: int | None = None) -> tuple[Header, bytes]:
        """Send a message and wait for its answer; errors about any frame from number ``first`` on count as the answer too."""
        self._need_open()
        with self._clock("encrypt"):
            frame = self._link.pack(header, body)
        self._transmit(frame)
        return self._answer(first or self._link.frames_sent)

    def _answer(self, first: int) -> tuple[Header, bytes]:
        """The next frame that answers frame number ``first`` or a later one. Raises Refusal for the server's error."""
        while True:
            with self._clock("transfer"), self._watching():
                frame = self._link.fetch()
            with self._clock("decrypt"):
                header, body = self._link.unpack(frame)
            if header["kind"] == "error" and header.get("last"):
                with self._watching():
                    raise LinkDown(header["message"])
            if header["to"] >= first:
                if header["kind"] == "error":
                    raise Refusal(header["message"])
                return header, body

    def _transmit(self, frame: bytearray) -> None:
        with self._clock("transfer"), self._watching():
            self._link.transmit(frame)

    @contextlib.contextmanager
    def _clock(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - start

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """A connection that fails once is not used again: what the server did meanwhile is not known."""
        try:
            yield
        except LinkDown as error:
            lost = f"The store server is lost: {error}{self._how_it_ended()}."
            self._over = lost + (" Its state is gone; go on from the last checkpoint." if self.revision >= 0 else "")
            raise StoreError(self._over) from None

    def _how_it_ended(self) -> str:
        if self._child is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._child.wait(1.0)
            return f"; its process ended {f'by signal {-code}' if code < 0 else f'with code {code}'}"
        return ""

    def _need_open(self) -> None:
        if self._over:
            raise StoreError(self._over)


class Refusal(StoreError):
    """The server's own words."""
