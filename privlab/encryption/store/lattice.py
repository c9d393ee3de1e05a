"""What the BFV and the CKKS store share: SEAL ciphertexts through TenSEAL, packed into chunks.

TenSEAL holds Python's global lock while it works, so it is imported in the process that trains and in the server only, at first use.
Encryption is symmetric: who encrypts an update decrypts the parameters too, so there is no use for a public key, and the server's context
holds no key at all. Security is that of ring learning with errors at N = 4096 and a 109-bit modulus: 128 bits by the Homomorphic
Encryption Standard (Albrecht et al. 2018, table 1).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.scheme import CHECKSUM

if TYPE_CHECKING:
    import tenseal as ts

#: Degree of the ring, and the bits of its primes: one for the data, one that SEAL keeps for key switching.
DEGREE = 4096
PRIME_BITS = (54, 55)

_LENGTH = struct.Struct("<I")


def pack(pieces: list[bytes]) -> bytes:
    """Serialised ciphertexts one after another, each behind its length."""
    return b"".join(part for piece in pieces for part in (_LENGTH.pack(len(piece)), piece))


def unpack(body: memoryview) -> list[bytes]:
    """What :func:`pack` was given. Raises StoreError for lengths that do not add up."""
    pieces, at = [], 0
    while at < len(body):
        if at + _LENGTH.size > len(body):
            raise StoreError("A chunk of ciphertexts is cut off.")
        (size,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        if at + size > len(body):
            raise StoreError("A chunk of ciphertexts is cut off.")
        pieces.append(bytes(body[at : at + size]))
        at += size
    return pieces


def public_part(context: ts.Context) -> bytes:
    """The context without any key: the parameters of the ring."""
    return context.serialize(
        save_public_key=False, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
    )


class LatticeSum:
    """The server's side of both schemes.

    Args:
        public: the context that the owners sent.
        slots: values in one ciphertext.
        kind: name of TenSEAL's vector class, "BFVVector" or "CKKSVector".

    Raises:
        StoreError: the context holds a secret key, which no client of ours sends, or cannot be read.
    """

    def __init__(self, public: bytes, slots: int, kind: str):
        import tenseal as ts

        try:
            context = ts.context_from(public, n_threads=1)
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"The encryption context that came cannot be read ({error}).") from None
        if context.is_private():
            raise StoreError("The encryption context that came holds a secret key; a store server takes none.")
        self._context, self._slots, self._vector = context, slots, getattr(ts, kind)

    def parse(self, body: bytes, size: int) -> list[Any]:
        """Ciphertexts, and the checksum as the last item."""
        split = len(body) - CHECKSUM.size
        if split < 0:
            raise StoreError("A chunk of ciphertexts is cut off.")
        vectors = [self._load(piece) for piece in unpack(memoryview(body)[:split])]
        if sum(vector.size() for vector in vectors) != size or any(vector.size() > self._slots for vector in vectors):
            raise StoreError(f"A chunk of {size} values came as {[vector.size() for vector in vectors]}.")
        return [*vectors, *CHECKSUM.unpack(body[split:])]

    def add(self, total: list[Any], part: list[Any]) -> list[Any]:
        for into, more in zip(total[:-1], part[:-1], strict=True):
            into.add_(more)
        total[-1] = (total[-1] + part[-1]) % (1 << 64)
        return total

    def dump(self, part: list[Any]) -> bytes:
        return pack([vector.serialize() for vector in part[:-1]]) + CHECKSUM.pack(part[-1])

    def _load(self, piece: bytes) -> Any:
        try:
            return self._vector.load(self._context, piece)
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"A ciphertext cannot be read ({error}).") from None
