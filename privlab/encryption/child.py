"""A helper process that answers requests over a socket pair: how work that must not share our memory, or our lock, is done apart.

A request or answer is one frame: two lengths, a JSON header, and blobs of bytes. Only the process that started the child holds the
other end of the socket, so nobody else can connect; when either side dies the other sees the end of the stream.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np

from privlab import paths

Answer = tuple[dict[str, Any], list[bytes]]
Handlers = dict[str, Callable[[dict[str, Any], list[bytes]], Answer]]

_SIZES = struct.Struct(">IQ")
#: Largest header and largest frame that are read.
_MOST_HEADER, _MOST_FRAME = 1 << 20, 1 << 32
#: How long a child may take to end after its socket is closed, in seconds.
_PATIENCE = 5.0


class ChildError(Exception):
    """A helper process that refused, failed or died, in plain words."""


class ChildRefused(ChildError):
    """It refused what it was asked, with its reason, and can be asked again."""


class Child:
    """``python -m module`` with its standard input as the socket. Calls from several threads wait for one another.

    Args:
        module: calls :func:`serve`.
        name: what people call it, for messages.
    """

    def __init__(self, module: str, name: str):
        self.name = name
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair()
        environment = os.environ | {
            "PYTHONPATH": paths.python_path(),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with theirs:
            # A session of its own: Ctrl-C in the terminal reaches the parent only, whose end the child then sees.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def call(self, do: str, blobs: Sequence[bytes] = (), *, seconds: float = 120.0, **header: Any) -> Answer:
        """The child's answer to ``do``.

        Args:
            seconds: longest wait; a child that takes longer is ended, for its answer would come to the next question.

        Raises:
            ChildRefused: with the child's own words.
            ChildError: it died or took too long.
        """
        with self._turn:
            try:
                self._socket.settimeout(seconds)
                send(self._socket, {"do": do, **header}, blobs)
                answer, parts = receive(self._socket)
            except TimeoutError:
                self.close()
                raise ChildError(f"{self.name} did not answer within {seconds:g} s and was ended.") from None
            except (OSError, EOFError):
                self.close()
                raise ChildError(f"{self.name} ended in the middle of its work.") from None
        if "refused" in answer:
            raise ChildRefused(answer["refused"])
        return answer, parts

    def close(self) -> None:
        """End the child. Harmless when called again."""
        self._socket.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(handlers: Handlers, refusals: tuple[type[Exception], ...]) -> None:
    """Answer requests on standard input until the parent closes it.

    Args:
        handlers: by name; each takes the header and blobs of a request and gives those of the answer.
        refusals: exceptions whose text is an answer for people. Any other ends the process, with a traceback on standard error.
    """
    connection = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    with connection, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            header, blobs = receive(connection)
            try:
                answer, parts = handlers[header.pop("do")](header, blobs)
            except refusals as error:
                answer, parts = {"refused": str(error)}, []
            send(connection, answer, parts)


def send(connection: socket.socket, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """One frame."""
    head = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    connection.sendall(b"".join([_SIZES.pack(len(head), sum(map(len, blobs))), head, *blobs]))


def receive(connection: socket.socket) -> Answer:
    """The next frame. Raises EOFError where the stream ends, ChildError where sizes are beyond all bounds."""
    head_size, size = _SIZES.unpack(_exactly(connection, _SIZES.size))
    if head_size > _MOST_HEADER or size > _MOST_FRAME:
        raise ChildError(f"A frame of {head_size} + {size} bytes is larger than any that is sent.")
    header = json.loads(bytes(_exactly(connection, head_size)))
    body, blobs, at = _exactly(connection, size), [], 0
    for length in header.pop("sizes"):
        blobs.append(bytes(body[at : at + length]))
        at += length
    return header, blobs


def _exactly(connection: socket.socket, size: int) -> memoryview:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        got = connection.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    return view


def pack(array: np.ndarray) -> bytes:
    """A NumPy array as bytes, nothing pickled."""
    stream = BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def unpack(data: bytes) -> np.ndarray:
    """The array of :func:`pack`."""
    return np.load(BytesIO(data), allow_pickle=False)
