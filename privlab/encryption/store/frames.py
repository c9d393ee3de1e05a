"""Messages between a store's client and its server: length-prefixed frames, each one authenticated and encrypted.

Layout, numbers big-endian::

    magic "PS" 2 | protocol 1 | 0 1 | header length 4 | body length 4 | CRC-32 of the 12 bytes before 4 | header | nonce 12 | body | tag 16

The header is JSON: mode, run, owner, revision, chunk and count. It is readable on the way but cannot be changed, since it is associated
data of the body's AES-256-GCM under a key that is fresh for each connection; so are the direction and the frame's number in it. A chunk that
is flipped, cut, swapped, replayed, sent back, or moved to another run, owner or revision fails. The CRC only makes a damaged
length fail at once, where it would leave the reader waiting. What is inside the body is ciphertext again: this
layer protects it on the way, and the scheme protects it from the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privlab.encryption.store.contract import StoreError

PROTOCOL = 1
KEY_SIZE = 32
#: Most bytes of a header and of a body: ours have some hundred bytes and 1.1 MB at most.
MOST_HEADER, MOST_BODY = 1 << 12, 4 << 20
#: Longest silence while waiting for the other side to read why the connection ends.
LINGER_SECONDS = 2.0

_MAGIC = b"PS"
_LENGTHS = struct.Struct(">2sBBII")
_CHECK = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_PREAMBLE = _LENGTHS.size + _CHECK.size
_NONCE, _TAG = 12, 16

Header = dict[str, Any]


class LinkDown(StoreError):
    """The connection is over, or can no longer be followed: the peer ended, timed out, or sent what is not a frame."""


@dataclass(frozen=True)
class Frame:
    """A frame as it came: its place in the connection, the header's bytes and the sealed body."""

    number: int
    header: memoryview
    body: memoryview


class Link:
    """One end of a connection.

    ``sent`` and ``received`` count bytes. Both ends count frames, so an answer can name the frame that it answers, even one that could not be
    read.

    Args:
        connection: a connected stream socket; its timeout is the longest wait for the other side.
        key: 32 bytes that both ends share, used for this connection alone.
        is_server: which end this is.
    """

    def __init__(self, connection: socket.socket, key: bytes, is_server: bool = False):
        self._socket, self._cipher = connection, AESGCM(key)
        self.sent = self.received = 0
        self.frames_sent = self.frames_received = 0
        self._to, self._from = (b"c", b"s") if is_server else (b"s", b"c")

    def pack(self, header: Header, body: bytes | memoryview = b"") -> bytearray:
        """A sealed frame, to be sent next."""
        text = json.dumps(header, separators=(",", ":")).encode("utf-8")
        sealed = _NONCE + len(body) + _TAG
        frame = bytearray(_PREAMBLE + len(text) + sealed)
        _LENGTHS.pack_into(frame, 0, _MAGIC, PROTOCOL, 0, len(text), sealed)
        _CHECK.pack_into(frame, _LENGTHS.size, zlib.crc32(frame[: _LENGTHS.size]))
        start = _PREAMBLE + len(text)
        frame[_PREAMBLE:start] = text
        nonce = os.urandom(_NONCE)
        frame[start : start + _NONCE] = nonce
        bound = text + self._to + _NUMBER.pack(self.frames_sent + 1)
        self._cipher.encrypt_into(nonce, body, bound, memoryview(frame)[start + _NONCE :])
        return frame

    def transmit(self, frame: bytearray) -> None:
        """Send a packed frame. Raises LinkDown."""
        try:
            self._socket.sendall(frame)
        except TimeoutError:
            raise LinkDown(f"the other side took no data for {self._socket.gettimeout():.0f} s") from None
        except OSError as error:
            raise LinkDown(f"the connection broke ({error.strerror or error})") from None
        self.sent += len(frame)
        self.frames_sent += 1

    def send(self, header: Header, body: bytes | memoryview = b"") -> None:
        self.transmit(self.pack(header, body))

    def fetch(self) -> Frame:
        """The next frame, not yet opened. Raises LinkDown."""
        preamble = self._read(_PREAMBLE)
        magic, protocol, _, header_size, body_size = _LENGTHS.unpack_from(preamble)
        if _CHECK.unpack_from(preamble, _LENGTHS.size)[0] != zlib.crc32(preamble[: _LENGTHS.size]) or magic != _MAGIC:
            raise LinkDown("what came is not a frame of a parameter store, or it was changed on the way")
        if protocol != PROTOCOL:
            raise LinkDown(
                f"the other side speaks version {protocol} of the protocol and this one version {PROTOCOL}; update the older one"
            )
        if header_size > MOST_HEADER or not _NONCE + _TAG <= body_size <= MOST_BODY:
            raise LinkDown(
                f"a frame of {header_size} + {body_size} bytes was announced; at most {MOST_HEADER} + {MOST_BODY} are taken"
            )
        data = memoryview(self._read(header_size + body_size))
        self.frames_received += 1
        return Frame(self.frames_received, data[:header_size], data[header_size:])

    def unpack(self, frame: Frame) -> tuple[Header, bytes]:
        """Header and body of a frame. Raises StoreError for one that was changed or does not belong to this connection."""
        bound = bytes(frame.header) + self._from + _NUMBER.pack(frame.number)
        try:
            body = self._cipher.decrypt(bytes(frame.body[:_NONCE]), frame.body[_NONCE:], bound)
        except InvalidTag:
            raise StoreError(
                "A message fails its authentication: it was changed, swapped or replayed on the way, or sealed with another key."
            ) from None
        return json.loads(bytes(frame.header)), body

    def receive(self) -> tuple[Header, bytes]:
        return self.unpack(self.fetch())

    def linger(self) -> None:
        """Take what is still on the way until the other side ends: closing at once would wipe out what it was told last."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(LINGER_SECONDS)
            while self._socket.recv(1 << 16):
                pass

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, at = memoryview(data), 0
        while at < size:
            try:
                count = self._socket.recv_into(view[at:])
            except TimeoutError:
                raise LinkDown(f"the other side was silent for {self._socket.gettimeout():.0f} s") from None
            except OSError as error:
                raise LinkDown(f"the connection broke ({error.strerror or error})") from None
            if not count:
                raise LinkDown("the other side ended the connection")
            at += count
        self.received += size
        return data
