"""The exact homomorphic store: fixed-point numbers as BFV ciphertexts, 4096 in each (Fan and Vercauteren 2012).

Plain modulus t = 8589852673 (33 bits), so the sum of numbers within ±256 is exact modulo t. An addition adds the noise of two ciphertexts; fresh
noise is below 2⁶ and decryption is right while the noise is below q/2t = 2²⁰, so more than 16,000 updates are safe in the worst case, and
billions when the noises are independent, as here. A sum that went wrong all the same fails its checksum.
"""

from __future__ import annotations

import numpy as np

from privlab.encryption.fixedpoint import BFV_MODULUS, RangeError, bound, check_range, decode, encode_checked
from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.lattice import DEGREE, PRIME_BITS, LatticeSum, pack, public_part, unpack
from privlab.encryption.store.scheme import Scheme, ring_checksum

#: Values in a ciphertext.
SLOTS = DEGREE


class BfvScheme(Scheme):
    """The owners' side of the BFV store; the secret key is in this object's context and nowhere else."""

    mode = "bfv"

    def __init__(self, dimension: int):
        super().__init__(dimension)
        import tenseal as ts

        self._context = ts.context(
            ts.SCHEME_TYPE.BFV,
            DEGREE,
            plain_modulus=BFV_MODULUS,
            coeff_mod_bit_sizes=list(PRIME_BITS),
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
            n_threads=1,
        )
        self._vector = ts.BFVVector

    @property
    def public(self) -> bytes:
        return public_part(self._context)

    @property
    def range_text(self) -> str:
        return f"within ±{bound(BFV_MODULUS):.6g}"

    def check(self, values: np.ndarray) -> None:
        try:
            check_range(values, BFV_MODULUS)
        except RangeError as error:
            raise StoreError(str(error)) from None

    def _encrypt(self, values: np.ndarray, index: int) -> tuple[bytes, int]:
        residues = encode_checked(values)
        pieces = [
            self._vector(self._context, residues[at : at + SLOTS].tolist()).serialize()
            for at in range(0, len(residues), SLOTS)
        ]
        return pack(pieces), ring_checksum(self._weights(index), residues)

    def _decrypt(self, body: memoryview, index: int, checksum: int) -> np.ndarray | None:
        parts = [self._vector.load(self._context, piece).decrypt() for piece in unpack(body)]
        residues = np.array([value for part in parts for value in part], dtype=np.int64)
        return decode(residues) if ring_checksum(self._weights(index), residues) == checksum else None


class BfvSum(LatticeSum):
    """The server's side of the BFV store."""

    def __init__(self, public: bytes):
        super().__init__(public, SLOTS, "BFVVector")
