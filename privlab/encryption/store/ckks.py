"""The approximate homomorphic store: real numbers as CKKS ciphertexts, 2048 in each (Cheon, Kim, Kim, Song 2017).

Scale 2⁴⁰ and one addition after another use no level; learning rate and momentum are in the update already. Encryption adds an error
with standard deviation 1.3·10⁻¹⁰ to a value, independent for each update, so it grows with the square root of their number: 4·10⁻⁹ after a
thousand, and 2·10⁻⁸ for the worst of a million values.

The checksum cannot be exact here. Weights are real, in [−1, 1), and T = Σ wⱼ·xⱼ may differ from the decrypted values' by
``TOLERANCE``·√(number of updates), many standard deviations of the scheme's own error. So a wrong key and a change that matters are
noticed, and changes of the order of that error are not.

Decrypted CKKS values betray the noise that protects the key to whoever also has the ciphertext (Li and Micciancio 2021), and with the key
every update of the run. So they must not reach the server: not during the run, and not as a published model either. Where the server may see
the model, the exact stores are the choice.
"""

from __future__ import annotations

import math

import numpy as np

from privlab.encryption.store.contract import StoreError
from privlab.encryption.store.lattice import DEGREE, PRIME_BITS, LatticeSum, pack, public_part, unpack
from privlab.encryption.store.scheme import Scheme

#: Values in a ciphertext.
SLOTS = DEGREE // 2
SCALE_BITS = 40
#: Largest value that is let in; the modulus of 54 bits holds sums up to 2¹³ at scale 2⁴⁰.
MOST = 4096.0
#: By how much a chunk's checksum may be off after one encryption; the scheme's own error there has standard deviation 1.5·10⁻⁸.
TOLERANCE = 1e-6
#: Fixed point of the checksum, bits behind the point.
_CHECKSUM_BITS = 32


class CkksScheme(Scheme):
    """The owners' side of the CKKS store; the secret key is in this object's context and nowhere else."""

    mode = "ckks"

    def __init__(self, dimension: int):
        super().__init__(dimension)
        import tenseal as ts

        self._context = ts.context(
            ts.SCHEME_TYPE.CKKS,
            DEGREE,
            coeff_mod_bit_sizes=list(PRIME_BITS),
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
            n_threads=1,
        )
        self._context.global_scale = 2**SCALE_BITS
        self._vector = ts.CKKSVector

    @property
    def public(self) -> bytes:
        return public_part(self._context)

    @property
    def range_text(self) -> str:
        return f"within ±{MOST:g}"

    def check(self, values: np.ndarray) -> None:
        if values.max() > MOST or values.min() < -MOST:
            at = int(np.flatnonzero(np.abs(values) > MOST)[0])
            raise StoreError(f"Value {at} is {values[at]:.6g}; the CKKS store holds −{MOST:g} to {MOST:g}.")

    def _encrypt(self, values: np.ndarray, index: int) -> tuple[bytes, int]:
        pieces = [
            self._vector(self._context, values[at : at + SLOTS].tolist()).serialize()
            for at in range(0, len(values), SLOTS)
        ]
        return pack(pieces), round(self._weighed(values, index) * 2**_CHECKSUM_BITS)

    def _decrypt(self, body: memoryview, index: int, checksum: int) -> np.ndarray | None:
        parts = [self._vector.load(self._context, piece).decrypt() for piece in unpack(body)]
        values = np.array([value for part in parts for value in part])
        signed = checksum - (1 << 64) if checksum >= 1 << 63 else checksum
        off = abs(self._weighed(values, index) - signed / 2**_CHECKSUM_BITS)
        return values if off <= TOLERANCE * math.sqrt(self._terms) else None

    def _weighed(self, values: np.ndarray, index: int) -> float:
        weights = self._weights(index).view(np.int64) * 2.0**-63
        return float(np.sum(weights * values))  # np.dot would start threads of BLAS


class CkksSum(LatticeSum):
    """The server's side of the CKKS store."""

    def __init__(self, public: bytes):
        super().__init__(public, SLOTS, "CKKSVector")
