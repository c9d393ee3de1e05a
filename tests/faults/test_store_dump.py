"""The server's memory and everything it is sent hold no parameter, no update and no key; and the search would find them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from privlab.encryption.fixedpoint import BFV_MODULUS, encode
from privlab.encryption.store import ParameterStore, open_store
from privlab.encryption.store.frames import Link
from privlab.encryption.store.keystream import Keystream
from privlab.encryption.store.scheme import Scheme

SIZE = 10_000
MODES = ("pad", "bfv", "ckks")
#: Kernel pages that cannot be read like memory.
UNREADABLE = ("[vvar", "[vsyscall]")


def dump(pid: int) -> bytes:
    """All of a process's memory that it can write to; the rest is programs and libraries as they are on disk."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            start, end, mode, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()
            if mode.startswith("rw") and not name.startswith(UNREADABLE):
                memory.seek(int(start, 16))
                parts.append(memory.read(int(end, 16) - int(start, 16)))
    return b"\0".join(parts)


def forms(values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """How a run of plain values could lie in memory or on the wire: four neighbours, from several places."""
    residues = encode(values, BFV_MODULUS)
    kinds = {
        "float64": values.astype("<f8"),
        "float64 big-endian": values.astype(">f8"),
        "float32": values.astype("<f4"),
        "fixed point, 32 bits": residues.astype("<i4"),
        "fixed point, 64 bits": residues.astype("<i8"),
        "residues modulo t": (residues % BFV_MODULUS).astype("<u8"),
    }
    for kind, array in kinds.items():
        for at in (0, len(values) // 2 + 1):
            yield f"{kind} at {at}", array[at : at + 4].tobytes()
    yield "hexadecimal text", kinds["float64"][:4].tobytes().hex().encode()


def secrets(scheme: Scheme) -> Iterator[tuple[str, bytes]]:
    """The owners' keys as they lie in memory."""
    pads = scheme._pads
    yield "the owners' secret", pads._secret
    for stream in (pads.words, pads.tags, pads.weights):
        yield "a pad key", bytes(stream._key.key)
    if scheme.mode != "pad":
        polynomial = scheme._context.secret_key().data.data()
        words = [polynomial[at] for at in range(4096)]
        assert len(set(words)) > 4000, "not the secret polynomial"
        for at in (0, 2000, 4090):
            yield f"the secret key at {at}", np.array(words[at : at + 4], dtype="<u8").tobytes()


@dataclass
class Watched:
    """A step of training in progress: the state is there, one of two updates has been added, nothing is committed."""

    store: ParameterStore
    plain: dict[str, np.ndarray]
    wire: bytearray = field(default_factory=bytearray)  # what crossed the socket
    inside: bytearray = field(default_factory=bytearray)  # what the server reads once the frames are opened

    def found(self) -> list[str]:
        memory = dump(self.store.server_pid)
        assert self.store.raw(64)[8:40] in dump(self.store.server_pid), "the dump misses what the server holds"
        hits = []
        patterns = [(f"{name}: {form}", data) for name, values in self.plain.items() for form, data in forms(values)]
        for name, data in [*patterns, *secrets(self.store._scheme)]:
            for place, haystack in (("memory", memory), ("socket", self.wire), ("messages", self.inside)):
                if data in haystack:
                    hits.append(f"{place}: {name}")
        return hits


class _Tap:
    def __init__(self, connection, wire: bytearray):
        self._connection, self._wire = connection, wire

    def sendall(self, data) -> None:
        self._wire += data
        self._connection.sendall(data)

    def recv_into(self, view) -> int:
        count = self._connection.recv_into(view)
        self._wire += view[:count]
        return count

    def __getattr__(self, name: str):
        return getattr(self._connection, name)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    stores: list[ParameterStore] = []

    def start(mode: str) -> Watched:
        random = np.random.default_rng(5)
        plain = {
            name: random.normal(size=SIZE) for name in ("parameters", "first update", "second update", "third update")
        }
        store = open_store(mode, SIZE, owners=2)
        stores.append(store)
        watched = Watched(store, plain)
        store._link._socket = _Tap(store._link._socket, watched.wire)
        pack, unpack = Link.pack, Link.unpack

        def packed(link: Link, header, body=b"") -> bytearray:
            watched.inside.extend(body)
            return pack(link, header, body)

        def unpacked(link: Link, frame):
            header, body = unpack(link, frame)
            watched.inside.extend(body)
            return header, body

        monkeypatch.setattr(Link, "pack", packed)
        monkeypatch.setattr(Link, "unpack", unpacked)
        first, second, third = (plain[f"{name} update"] for name in ("first", "second", "third"))
        store.put(plain["parameters"], 0)
        store.contribute(0, first, 1)
        store.contribute(1, second, 1)
        store.commit(1)
        plain["parameters after a step"] = store.open()
        store.contribute(0, third, 2)
        return watched

    yield start
    for store in stores:
        store.close()


@pytest.mark.parametrize("mode", MODES)
def test_the_server_holds_and_is_sent_no_parameter_no_update_and_no_key(mode: str, watch) -> None:
    watched = watch(mode)
    assert watched.found() == []
    assert len(watched.wire) > 4 * SIZE * {"pad": 4, "bfv": 15, "ckks": 30}[mode]


def test_the_search_finds_parameters_whose_pad_is_left_out(watch, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Keystream.words

    def unmasked(stream, owner, revision, start, count, kind=np.uint32):
        drawn = words(stream, owner, revision, start, count, kind)
        return drawn * 0 if drawn.dtype.itemsize == 4 else drawn

    monkeypatch.setattr(Keystream, "words", unmasked)
    found = watch("pad").found()
    for name in ("third update", "parameters after a step"):
        for place in ("memory", "messages"):
            assert f"{place}: {name}: fixed point, 32 bits at {SIZE // 2 + 1}" in found


@pytest.mark.parametrize("mode", ["pad", "bfv"])
def test_the_search_finds_a_parameter_that_slips_into_a_name(mode: str, watch, monkeypatch: pytest.MonkeyPatch) -> None:
    leak = np.random.default_rng(5).normal(size=SIZE)[:4].tobytes().hex()
    monkeypatch.setattr(Scheme, "run", property(lambda scheme: leak))
    found = watch(mode).found()
    for place in ("memory", "socket"):
        assert f"{place}: parameters: hexadecimal text" in found


def test_the_search_finds_a_key_that_is_handed_over(watch) -> None:
    watched = watch("pad")
    watched.store._ask({"kind": "raw", "most": 1, "note": "x"}, watched.store._scheme._pads._secret)
    assert "messages: the owners' secret" in watched.found()
