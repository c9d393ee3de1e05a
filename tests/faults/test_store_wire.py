"""Whatever happens between a store's client and its server is refused with its reason, and the run can go on."""

from __future__ import annotations

import os
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import pytest

from privlab.encryption.store import StoreError
from privlab.encryption.store.client import EncryptedStore
from privlab.encryption.store.contract import ParameterStore
from privlab.encryption.store.frames import PROTOCOL, Link, LinkDown
from privlab.encryption.store.launch import scheme_for
from privlab.encryption.store.pad import PadScheme, PadSum
from privlab.encryption.store.scheme import CHUNK, Scheme
from privlab.encryption.store.server import Session

KEY = bytes(range(32))
SIZE = 6
HELLO = {"kind": "hello", "version": PROTOCOL, "mode": "pad", "dimension": SIZE, "owners": 2}


class Wire:
    """A client's socket whose traffic can be noted, flipped, cut and held back."""

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self.sent, self.received = bytearray(), bytearray()
        #: Flip bits of this byte of what is sent, or received, from now on.
        self.flip_sent: tuple[int, int] | None = None
        self.flip_received: tuple[int, int] | None = None
        #: Frames as they are sent → what is sent instead.
        self.frames: Callable[[bytes], list[bytes]] = lambda frame: [frame]
        #: Close after so many more bytes.
        self.cut: int | None = None

    def sendall(self, data: bytearray) -> None:
        for frame in self.frames(bytes(data)):
            self._send(bytearray(frame))

    def _send(self, data: bytearray) -> None:
        start = len(self.sent)
        self.sent += data
        if self.flip_sent and start <= self.flip_sent[0] < len(self.sent):
            data[self.flip_sent[0] - start] ^= self.flip_sent[1]
        if self.cut is not None and len(self.sent) > self.cut:
            self._socket.sendall(data[: max(0, self.cut - start)])
            self._socket.shutdown(socket.SHUT_WR)
            return
        self._socket.sendall(data)

    def recv_into(self, view: memoryview) -> int:
        count = self._socket.recv_into(view)
        start = len(self.received)
        self.received += view[:count]
        if self.flip_received and start <= self.flip_received[0] < len(self.received):
            view[self.flip_received[0] - start] ^= self.flip_received[1]
        return count

    def gettimeout(self) -> float | None:
        return self._socket.gettimeout()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def served(scheme: Scheme, owners: int = 1, serving: type[Session] = Session) -> Iterator[tuple[ParameterStore, Wire]]:
    """A store whose server is a thread here, and the wire between them."""
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    server = threading.Thread(target=serving(Link(theirs, KEY, is_server=True)).serve)
    server.start()
    wire = Wire(ours)
    store = EncryptedStore(scheme, owners, Link(wire, KEY))
    try:
        yield store, wire
    finally:
        store.close()
        server.join(20)
        assert not server.is_alive()


def vector(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


def total(*seeds: int, size: int = SIZE) -> np.ndarray:
    return sum(np.rint(vector(seed, size) * 2**24) for seed in seeds) / 2**24


def test_a_flip_of_any_byte_of_an_update_is_refused_and_the_state_stays() -> None:
    position, frames = 0, 1
    refused = lost = 0
    while position < frames:
        with served(PadScheme(SIZE)) as (store, wire):
            store.put(vector(0), 0)
            start = len(wire.sent)
            wire.flip_sent = (start + position, 1 << position % 8)
            with pytest.raises(StoreError) as refusal:
                store.contribute(0, vector(1), 1)
            frames = len(wire.sent) - start
            if "lost" in str(refusal.value):  # a damaged length: no later frame can be found
                assert "not a frame of a parameter store, or it was changed" in str(refusal.value)
                lost += 1
            else:
                assert "fails its authentication" in str(refusal.value)
                with pytest.raises(StoreError, match="no update from owner 0"):
                    store.commit(1)
                state = store.open()
                assert np.array_equal(state, total(0))
                with pytest.raises(StoreError, match=r"was used before.*Put the last state again"):
                    store.contribute(0, vector(1), 1)
                store.put(state, 0)
                store.contribute(0, vector(1), 1)
                store.commit(1)
                assert np.array_equal(store.open(), total(0, 1))
                refused += 1
        position += 1
    # An update is two frames here, its chunk and its end; each begins with 16 bytes of lengths.
    assert (lost, refused) == (32, frames - 32)
    assert frames > 300


def test_a_flip_of_any_byte_of_the_state_is_refused() -> None:
    with served(PadScheme(SIZE)) as (store, wire):
        store.put(vector(0), 0)
        start = len(wire.received)
        store.open()
        length = len(wire.received) - start
    assert length > 150
    for position in range(length):
        with served(PadScheme(SIZE)) as (store, wire):
            store.put(vector(0), 0)
            start = len(wire.received)
            wire.flip_received = (start + position, 1 << position % 8)
            with pytest.raises(StoreError, match=r"fails its authentication|not a frame of a parameter store"):
                store.open()
            if position >= 16:
                assert np.array_equal(store.open(), total(0))


@pytest.mark.parametrize("mode", ["bfv", "ckks"])
def test_flips_of_a_lattice_ciphertext_are_refused(mode: str) -> None:
    with served(scheme_for(mode, SIZE)) as (store, wire):
        store.put(vector(0), 0)
        start = len(wire.sent)
        store.put(vector(0), 0)
        length = len(wire.sent) - start
        assert length > 60_000
        for position in np.random.default_rng(0).integers(16, length - 1000, 20):
            store.put(vector(0), 0)
            wire.flip_sent = (len(wire.sent) + int(position), 1 << int(position) % 8)
            with pytest.raises(StoreError, match="fails its authentication"):
                store.contribute(0, vector(1), 1)
            assert np.abs(store.open() - vector(0)).max() < 1e-7


def test_a_connection_that_is_cut_anywhere_loses_the_store_with_a_reason() -> None:
    with served(PadScheme(SIZE)) as (store, wire):
        store.put(vector(0), 0)
        start = len(wire.sent)
        store.contribute(0, vector(1), 1)
        length = len(wire.sent) - start
    for position in range(0, length, 7):
        with served(PadScheme(SIZE)) as (store, wire):
            store.put(vector(0), 0)
            wire.cut = len(wire.sent) + position
            with pytest.raises(StoreError, match=r"server is lost: .*go on from the last checkpoint"):
                store.contribute(0, vector(1), 1)
            with pytest.raises(StoreError, match="lost"):
                store.open()


def test_swapped_doubled_and_missing_chunks_are_refused() -> None:
    size = 2 * CHUNK + 5
    held: list[bytes] = []

    def swap(frame: bytes) -> list[bytes]:
        if b'"chunk":0' in frame:
            held.append(frame)
            return []
        return [frame, held.pop()] if held else [frame]

    def double(frame: bytes) -> list[bytes]:
        return [frame, frame] if b'"chunk":1' in frame else [frame]

    def drop(frame: bytes) -> list[bytes]:
        return [] if b'"chunk":1' in frame else [frame]

    for change in (swap, double, drop):
        with served(PadScheme(size)) as (store, wire):
            store.put(vector(0, size), 0)
            wire.frames = change
            with pytest.raises(StoreError, match="swapped or replayed"):
                store.contribute(0, vector(1, size), 1)


def test_an_update_that_is_sent_again_is_refused_by_the_connection() -> None:
    with served(PadScheme(SIZE)) as (store, wire):
        store.put(vector(0), 0)
        start = len(wire.sent)
        store.contribute(0, vector(1), 1)
        recorded = bytes(wire.sent[start:])
        store.commit(1)
        wire.sendall(bytearray(recorded))
        with pytest.raises(StoreError, match="swapped or replayed"):
            store.open()


class Owner:
    """A client that follows no rule but the connection's: what a faulty or malicious owner's program could send."""

    def __init__(self, link: Link):
        self.link = link

    def say(self, header: dict, body: bytes = b"") -> str:
        """The server's answer: "ok", "state", or the error's words."""
        self.link.send(header, body)
        answer, _ = self.link.receive()
        return answer.get("message", answer["kind"])

    def vector(
        self, what: str, owner: int, revision: int, run: str = "r", body: bytes | None = None, **changes: object
    ) -> str:
        name = {"mode": "pad", "run": run, "owner": owner, "revision": revision, "count": 1, "chunk": 0, "what": what}
        self.link.send({"kind": "chunk"} | name | changes, bytes(4 * SIZE + 8) if body is None else body)
        return self.say({"kind": "end"})


@contextmanager
def owner() -> Iterator[Owner]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    server = threading.Thread(target=Session(Link(theirs, KEY, is_server=True)).serve)
    server.start()
    link = Link(ours, KEY)
    try:
        yield Owner(link)
    finally:
        link.close()
        server.join(20)
        assert not server.is_alive()


def test_the_server_itself_refuses_what_no_client_of_ours_would_send() -> None:
    with owner() as one:
        assert one.say(HELLO) == "ok"
        assert "no parameters yet" in one.vector("contribute", 0, 1, run="")
        assert "holds no parameters" in one.say({"kind": "open"})
        assert "holds no parameters" in one.say({"kind": "commit", "revision": 1})
        assert "holds no parameters" in one.say({"kind": "raw", "most": 5})
        assert one.vector("put", 0xFFFF, 3) == "ok"
        for revision, who, words in (
            (4, 2, "Owner 2 was not announced"),
            (3, 0, "replay"),
            (5, 0, "before revision 4"),
        ):
            assert words in one.vector("contribute", who, revision)
        assert "of another run came" in one.vector("contribute", 0, 4, run="old")
        assert "28 bytes came; 6 masked values and a checksum have 32" in one.vector("contribute", 0, 4, body=bytes(28))
        assert "Chunk 1 of 1 came where chunk 0 of 1 was due" in one.vector("contribute", 0, 4, chunk=1)
        assert "Chunk 0 of 2 came where chunk 0 of 1 was due" in one.vector("contribute", 0, 4, count=2)
        assert "after 0 of 1 chunks; cut off" in one.say({"kind": "end"})
        assert "knows no message “delete”" in one.say({"kind": "delete"})
        assert "no update from owners 0, 1" in one.say({"kind": "commit", "revision": 4})
        assert one.vector("contribute", 0, 4) == "ok"
        assert "Owner 0 has given its update for revision 4 already" in one.vector("contribute", 0, 4)
        assert "no update from owner 1" in one.say({"kind": "commit", "revision": 4})
        assert one.vector("contribute", 1, 4) == "ok"
        assert "the next one is 4" in one.say({"kind": "commit", "revision": 5})
        assert one.say({"kind": "commit", "revision": 4}) == "ok"
        assert one.say({"kind": "open"}) == "state"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"version": PROTOCOL + 1},
            f"version {PROTOCOL + 1} is newer than this server's version {PROTOCOL}; update the server",
        ),
        ({"mode": "rot13"}, "knows no mode “rot13”"),
        ({"dimension": 0}, "0 parameters and 2 owners makes no sense"),
        ({"kind": "open"}, "not a greeting"),
    ],
)
def test_greetings_that_are_refused(changed: dict, words: str) -> None:
    with owner() as one:
        assert words in one.say(HELLO | changed)
        with pytest.raises(LinkDown):
            one.say(HELLO)


def test_a_server_that_speaks_a_later_protocol_is_named() -> None:
    ours, theirs = socket.socketpair()
    lengths = struct.pack(">2sBBII", b"PS", PROTOCOL + 1, 0, 2, 28)
    theirs.sendall(lengths + struct.pack(">I", zlib.crc32(lengths)) + bytes(30))
    with (
        ours,
        theirs,
        pytest.raises(StoreError, match=f"speaks version {PROTOCOL + 1} of the protocol.*update the older"),
    ):
        EncryptedStore(PadScheme(SIZE), 1, Link(ours, KEY))


def test_a_frame_that_announces_gigabytes_is_refused_before_they_are_kept() -> None:
    ours, theirs = socket.socketpair()
    lengths = struct.pack(">2sBBII", b"PS", PROTOCOL, 0, 2, 1 << 31)
    theirs.sendall(lengths + struct.pack(">I", zlib.crc32(lengths)))
    with ours, theirs, pytest.raises(LinkDown, match="2147483648 bytes was announced; at most"):
        Link(ours, KEY).fetch()


def test_another_link_key_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Link(theirs, os.urandom(32), is_server=True).send({"kind": "ok", "to": 1})
        with pytest.raises(StoreError, match="another key"):
            Link(ours, KEY).receive()


def test_a_frame_that_is_sent_back_to_its_sender_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Link(theirs, KEY).send({"kind": "ok", "to": 1})
        with pytest.raises(StoreError, match="fails its authentication"):
            Link(ours, KEY).receive()


def test_a_silent_server_is_not_waited_for_forever() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.2)
    with theirs, pytest.raises(StoreError, match="the other side was silent for"):
        EncryptedStore(PadScheme(SIZE), 1, Link(ours, KEY))


class Liar(Session):
    """A server that adds something of its own to the sum."""

    def _commit(self, header: dict, body: bytes) -> None:
        super()._commit(header, body)
        self._state = self._added(self._state, self.lie(self._state))

    def lie(self, state: list) -> list:
        if isinstance(self._sum, PadSum):
            words, checksum = state[0]
            extra = np.zeros_like(words)
            extra[3] = 1 << 31  # the word's top bit alone, the change that a ring's checksum sees worst
            return [(extra, np.zeros_like(checksum))]
        return [self._sum.parse(self._sum.dump(state[0])[:-8] + bytes(8), SIZE)]  # the parameters once more


@pytest.mark.parametrize("mode", ["pad", "bfv", "ckks"])
def test_a_sum_that_the_server_changed_is_refused(mode: str) -> None:
    with served(scheme_for(mode, SIZE), serving=Liar) as (store, _):
        store.put(vector(0), 0)
        assert np.abs(store.open() - vector(0)).max() < 1e-7
        store.contribute(0, vector(1), 1)
        store.commit(1)
        with pytest.raises(StoreError, match="fails its checksum: the server's sum was changed"):
            store.open()


class Stale(Session):
    """A server that names its state wrongly."""

    wrong: ClassVar[dict] = {}

    def _reply(self, header: dict, body: bytes = b"") -> None:
        super()._reply(header | self.wrong if header["kind"] == "state" else header, body)


@pytest.mark.parametrize(
    "wrong",
    [{"revision": 0}, {"run": "another"}, {"mode": "bfv"}, {"chunk": 1}, {"count": 2}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_state_that_was_not_asked_for_is_refused(wrong: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stale, "wrong", wrong)
    ((name, value),) = wrong.items()
    with served(PadScheme(SIZE), serving=Stale) as (store, _):
        store.put(vector(0), 1)
        with pytest.raises(StoreError, match=f"sent a state whose {name} is {value}; it should be"):
            store.open()


def test_a_put_that_failed_leaves_an_empty_store_that_takes_another() -> None:
    with served(PadScheme(SIZE)) as (store, wire):
        store.put(vector(0), 4)
        wire.flip_sent = (len(wire.sent) + 200, 1)
        with pytest.raises(StoreError, match="fails its authentication"):
            store.put(vector(1), 5)
        assert store.revision == -1
        with pytest.raises(StoreError, match="no parameters yet"):
            store.open()
        store.put(vector(2), 5)
        assert np.array_equal(store.open(), total(2))


@pytest.mark.parametrize("mode", ["pad", "bfv", "ckks"])
def test_the_wrong_key_is_refused(mode: str) -> None:
    scheme, other = scheme_for(mode, SIZE), scheme_for(mode, SIZE)
    with served(scheme) as (store, _):
        store.put(vector(0), 0)
        run = scheme._pads.run
        if mode == "pad":
            scheme._pads, scheme._masks = other._pads, other._masks
        else:
            scheme._context = other._context
        scheme._pads.run = run
        with pytest.raises(StoreError, match=r"the key is another one|cannot be decrypted"):
            store.open()


@pytest.mark.parametrize("mode", ["bfv", "ckks"])
def test_a_missing_key_is_refused(mode: str) -> None:
    import tenseal as ts

    scheme = scheme_for(mode, SIZE)
    with served(scheme) as (store, _):
        store.put(vector(0), 0)
        scheme._context = ts.context_from(scheme.public, n_threads=1)
        with pytest.raises(StoreError, match=r"cannot be decrypted.*secret_key"):
            store.open()


@pytest.mark.parametrize("mode", ["bfv", "ckks"])
def test_the_server_takes_no_secret_key(mode: str) -> None:
    scheme = scheme_for(mode, SIZE)
    secret = scheme._context.serialize(
        save_public_key=False, save_secret_key=True, save_galois_keys=False, save_relin_keys=False
    )
    with owner() as one:
        assert "holds a secret key; a store server takes none" in one.say(HELLO | {"mode": mode}, secret)
    assert len(scheme.public) < 200


def test_a_pad_is_spent_once() -> None:
    scheme = PadScheme(SIZE)
    scheme.begin(1, 5)
    first = scheme.encrypt(np.zeros(SIZE), 0)
    for revision in (5, 4):
        with pytest.raises(StoreError, match=f"pad of owner 1 for revision {revision} was used before"):
            scheme.begin(1, revision)
    scheme.begin(0, 5)
    other_owner = scheme.encrypt(np.zeros(SIZE), 0)
    scheme.begin(1, 6)
    other_revision = scheme.encrypt(np.zeros(SIZE), 0)
    scheme.restart()
    scheme.begin(1, 5)
    other_run = scheme.encrypt(np.zeros(SIZE), 0)
    words = {
        body[at : at + 4] for body in (first, other_owner, other_revision, other_run) for at in range(0, 4 * SIZE, 4)
    }
    assert len(words) == 4 * SIZE
