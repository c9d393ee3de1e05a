"""The store's server, a process of its own that holds ciphertext and no key to it: ``python -m privlab.encryption.store.server``.

As a child of the training process it serves the socket that it inherits (``--descriptor``), and reads the connection's key from its standard
input. On another host it listens (``--listen HOST:PORT --certificates FOLDER``) and takes only clients whose certificate it knows. Each
connection has one store, which is gone when the connection ends: whoever owns the data has the checkpoints.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path

from privlab.encryption.store.checks import Turns
from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.frames import KEY_SIZE, PROTOCOL, Header, Link, LinkDown
from privlab.encryption.store.scheme import Sum, chunk_size, chunks_of

#: Longest wait for a client's next message: a step of a slow model may take minutes. A child has no limit, since its parent's end ends it.
IDLE_SECONDS = 3600.0
#: Longest wait for a new client's handshake.
HANDSHAKE_SECONDS = 20.0


def sum_for(mode: str, public: bytes) -> Sum:
    """The server's side of a scheme. Raises StoreError for an unknown mode, or for a context that holds a secret key."""
    if mode == "pad":
        from privlab.encryption.store.pad import PadSum

        return PadSum()
    if mode == "bfv":
        from privlab.encryption.store.bfv import BfvSum

        return BfvSum(public)
    if mode == "ckks":
        from privlab.encryption.store.ckks import CkksSum

        return CkksSum(public)
    raise StoreError(f"The server knows no mode “{mode}”.")


class Incoming:
    """A vector that is arriving chunk by chunk; taken whole or not at all."""

    def __init__(self, kind: str, run: str, owner: int, revision: int):
        self.named = {"kind": kind, "run": run, "owner": owner, "revision": revision}
        self.parts: list[object] = []


class Session:
    """One store and its connection."""

    def __init__(self, link: Link):
        self._link = link
        self._state: list[object] | None = None
        self._pending: list[object] | None = None
        self._incoming: Incoming | None = None
        self._refusal: str | None = None  # why the vector that is arriving will be refused at its end
        self._run = ""

    def serve(self) -> None:
        """Answer until the connection ends."""
        try:
            if not self._greet():
                self._link.linger()
                return
            while True:
                self._answer()
        except LinkDown as end:
            with contextlib.suppress(StoreError):  # tells a client that is still there why
                self._reply({"kind": "error", "message": f"its server could not go on, since {end}", "last": True})
                self._link.linger()
        finally:
            self._link.close()

    def _greet(self) -> bool:
        """Whether the client and what it asks for can be served."""
        header, public = self._link.receive()
        try:
            if header.get("kind") != "hello":
                raise StoreError("The first message was not a greeting.")
            if header["version"] > PROTOCOL:
                raise StoreError(
                    f"The client's version {header['version']} is newer than this server's version {PROTOCOL}; update the server."
                )
            if header["dimension"] < 1 or header["owners"] < 1:
                raise StoreError(
                    f"A store of {header['dimension']} parameters and {header['owners']} owners makes no sense."
                )
            self._mode, self._dimension = header["mode"], header["dimension"]
            self._count = chunks_of(self._dimension)
            self._turns = Turns(header["owners"])
            self._sum = sum_for(self._mode, public)
        except StoreError as error:
            self._fail(error)
            return False
        self._reply({"kind": "ok"})
        return True

    def _answer(self) -> None:
        frame = self._link.fetch()
        try:
            header, body = self._link.unpack(frame)
        except StoreError as error:
            # It may have been any message. A vector with this hole in it must not count, whatever else of it still comes.
            self._refusal = self._refusal or str(error)
            self._fail(error)
            return
        handler = {
            "chunk": self._chunk,
            "end": self._end,
            "commit": self._commit,
            "open": self._open,
            "raw": self._raw,
            "memory": self._memory,
        }.get(header["kind"])
        try:
            if handler is None:
                raise StoreError(f"The server knows no message “{header['kind']}”.")
            handler(header, body)
        except StoreError as error:
            if header["kind"] != "chunk":
                self._fail(error)
            elif self._refusal is None:  # said at the vector's end
                self._refusal = str(error)

    def _reply(self, header: Header, body: bytes = b"") -> None:
        self._link.send(header | {"to": self._link.frames_received}, body)

    def _fail(self, error: StoreError) -> None:
        self._reply({"kind": "error", "message": str(error)})

    def _chunk(self, header: Header, body: bytes) -> None:
        named = {key: header[key] for key in ("run", "owner", "revision")} | {"kind": header["what"]}
        if header["chunk"] == 0:  # whatever came before without an end is over
            self._incoming = self._refusal = None
        if self._incoming is None:
            self._incoming = Incoming(named["kind"], named["run"], named["owner"], named["revision"])
            if named["kind"] == "put":
                self._state = self._pending = None
            elif named["run"] != self._run:
                raise StoreError(f"An update of another run came ({named['run'][:8]}…); refused as a replay.")
            else:
                self._turns.check(named["owner"], named["revision"])
        at = len(self._incoming.parts)
        if named != self._incoming.named or header["chunk"] != at or header["count"] != self._count:
            raise StoreError(
                f"Chunk {header['chunk']} of {header['count']} came where chunk {at} of {self._count} was due; swapped or from elsewhere."
            )
        if self._refusal is None:
            self._incoming.parts.append(self._sum.parse(body, chunk_size(self._dimension, at)))

    def _end(self, header: Header, body: bytes) -> None:
        incoming, refusal = self._incoming, self._refusal
        self._incoming = self._refusal = None
        if refusal is not None:
            raise StoreError(refusal)
        if incoming is None or len(incoming.parts) != self._count:
            raise StoreError(
                f"A vector ended after {len(incoming.parts) if incoming else 0} of {self._count} chunks; cut off."
            )
        named = incoming.named
        if named["kind"] == "put":
            self._turns.restart(named["revision"])
            self._run, self._state, self._pending = named["run"], incoming.parts, None
        else:
            self._turns.give(named["owner"], named["revision"])
            self._pending = incoming.parts if self._pending is None else self._added(self._pending, incoming.parts)
        self._reply({"kind": "ok"})

    def _added(self, total: list, parts: list) -> list:
        return [self._sum.add(one, other) for one, other in zip(total, parts, strict=True)]

    def _commit(self, header: Header, body: bytes) -> None:
        self._need_state()
        self._turns.check_commit(header["revision"])
        self._state, self._pending = self._added(self._state, self._pending), None
        self._turns.commit(header["revision"])
        self._reply({"kind": "ok"})

    def _open(self, header: Header, body: bytes) -> None:
        self._need_state()
        for index, part in enumerate(self._state):
            name = {"run": self._run, "revision": self._turns.revision, "chunk": index, "count": self._count}
            self._reply({"kind": "state", "mode": self._mode, **name}, self._sum.dump(part))

    def _raw(self, header: Header, body: bytes) -> None:
        self._need_state()
        self._reply({"kind": "ok"}, self._sum.dump(self._state[0])[: header["most"]])

    def _memory(self, header: Header, body: bytes) -> None:
        self._reply({"kind": "ok", "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})

    def _need_state(self) -> None:
        if self._state is None:
            raise StoreError("The store holds no parameters; put them first.")


def serve_child(descriptor: int) -> None:
    """Serve the inherited socket; the connection's key comes on standard input, where no process list shows it."""
    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means, and its end ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    key = sys.stdin.buffer.read(KEY_SIZE)
    if len(key) != KEY_SIZE:
        raise SystemExit("the store server got no key for its connection")
    Session(Link(socket.socket(fileno=descriptor), key, is_server=True)).serve()
    os._exit(0)  # nothing to clean up: freeing a large state piece by piece would keep the client waiting


def serve_network(address: tuple[str, int], certificates: Path) -> None:
    """Listen for clients with a known certificate, each served in a thread of its own, until the process is ended."""
    from privlab.encryption.store.tls import Certificates

    context = Certificates.server(certificates).server_context()
    with socket.create_server(address) as listener:
        host, port = listener.getsockname()[:2]
        print(f"listening on {host}:{port}", flush=True)
        while True:
            connection, peer = listener.accept()
            threading.Thread(target=_serve_peer, args=(connection, peer, context), daemon=True).start()


def _serve_peer(connection: socket.socket, peer: tuple, context: ssl.SSLContext) -> None:
    try:
        connection.settimeout(HANDSHAKE_SECONDS)
        connection = context.wrap_socket(connection, server_side=True)
        key = _exactly(connection, KEY_SIZE)
        connection.settimeout(IDLE_SECONDS)
    except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
        print(f"{peer[0]} was turned away: {error}", file=sys.stderr, flush=True)
        connection.close()
        return
    Session(Link(connection, key, is_server=True)).serve()


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise OSError("it ended before it sent the connection's key")
        data += more
    return data


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m privlab.encryption.store.server", description="A parameter store's server."
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--descriptor", type=int, help="a connected socket that this process inherited")
    where.add_argument("--listen", metavar="HOST:PORT", help="wait for clients here")
    parser.add_argument("--certificates", type=Path, help="folder made by python -m privlab.encryption.store.tls")
    given = parser.parse_args(arguments)
    if given.descriptor is not None:
        serve_child(given.descriptor)
        return
    if given.certificates is None:
        parser.error("--listen needs --certificates: without them anybody could connect")
    host, _, port = given.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--listen takes HOST:PORT, not {given.listen!r}")
    serve_network((host, int(port)), given.certificates)


if __name__ == "__main__":
    main()
