"""Ciphertexts on the way: authenticated, because homomorphic ciphertexts are not. A flipped bit in one decrypts to garbage unseen.

AES-256-GCM with a random nonce; the associated data names the purpose, the direction and the message's number, so that nothing can be
altered, sent back to its sender, or sent twice.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
_NUMBER, _NONCE = struct.Struct(">Q"), 12


class EnvelopeError(Exception):
    """A message that was altered, repeated or is not for us, in plain words."""


class Envelope:
    """One end of a conversation.

    Args:
        key: 32 random bytes that both ends have, fresh for each conversation.
        purpose: what the messages are for; both ends say the same.
        sends, receives: names of the two directions, swapped at the other end.
    """

    def __init__(self, key: bytes, purpose: str, sends: str, receives: str):
        self._cipher = AESGCM(key)
        self._out, self._in = f"{purpose}|{sends}|".encode(), f"{purpose}|{receives}|".encode()
        self._sent = self._received = 0

    def seal(self, data: bytes) -> bytes:
        """``data`` for the other end: its number, a nonce and authenticated ciphertext."""
        self._sent += 1
        number, nonce = _NUMBER.pack(self._sent), os.urandom(_NONCE)
        return number + nonce + self._cipher.encrypt(nonce, data, self._out + number)

    def open(self, message: bytes) -> bytes:
        """What the other end sealed.

        Raises:
            EnvelopeError: altered or cut in any way, not from the other end, or not newer than the last message. The
                conversation can go on with the next good message.
        """
        start = _NUMBER.size + _NONCE
        if len(message) < start + 16:
            raise EnvelopeError(f"A message of {len(message)} bytes was cut off; it is refused.")
        number, nonce = message[: _NUMBER.size], message[_NUMBER.size : start]
        try:
            data = self._cipher.decrypt(nonce, message[start:], self._in + number)
        except InvalidTag:
            raise EnvelopeError(
                "The ciphertext was altered on the way, or is not from the other party; it is refused."
            ) from None
        count = _NUMBER.unpack(number)[0]
        if count <= self._received:
            raise EnvelopeError(f"Message {count} came a second time or too late; it is refused as a replay.")
        self._received = count
        return data
