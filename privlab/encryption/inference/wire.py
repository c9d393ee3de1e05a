"""What both ends of an encrypted classification use: names, and several ciphertexts as one message."""

from __future__ import annotations

from collections.abc import Sequence

PURPOSE = "privlab encrypted inference 1"
RECORD, RESULT = "record", "result"
_LENGTH = 4


def join(parts: Sequence[bytes]) -> bytes:
    """``parts`` as one message, each after its length."""
    return b"".join(len(part).to_bytes(_LENGTH, "big") + part for part in parts)


def split(message: bytes) -> list[bytes]:
    """The parts of :func:`join`; none where ``message`` is not one."""
    parts, at = [], 0
    while at < len(message):
        start = at + _LENGTH
        at = start + int.from_bytes(message[at:start], "big")
        if at > len(message):
            return []
        parts.append(message[start:at])
    return parts
