"""CKKS as Microsoft SEAL computes it, through TenSEAL's ``sealapi``: parameters, keys, and ciphertexts as bytes.

CKKS (Cheon, Kim, Kim, Song 2017, "Homomorphic encryption for arithmetic of approximate numbers") encrypts N/2 numbers at once and
adds, multiplies and rotates them as ciphertext. Numbers are held as multiples of 1/scale; each multiplication uses up one prime
(a *level*). Loaded only in processes that compute: SEAL holds Python's interpreter lock.

The sums of prime sizes are held by SEAL to the table of the Homomorphic Encryption Standard for 128-bit security.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tenseal.sealapi as seal


class CkksError(Exception):
    """A key or ciphertext that cannot be used, in plain words."""


@dataclass(frozen=True)
class Parameters:
    """The public choice behind keys and ciphertexts.

    Attributes:
        degree: N, a power of two; N/2 numbers fit in a ciphertext.
        prime_bits: sizes of the primes, the first and last larger than the ``scale_bits`` of those between.
        scale_bits: numbers are held as multiples of 2^−scale_bits.
    """

    degree: int
    prime_bits: tuple[int, ...]
    scale_bits: int

    @property
    def slots(self) -> int:
        return self.degree // 2

    @property
    def levels(self) -> int:
        """Multiplications in a row that a fresh ciphertext allows."""
        return len(self.prime_bits) - 2


class Scheme:
    """What everybody may have: the parameters, encoding of plain numbers, and reading of what others sent.

    Raises:
        CkksError: parameters that SEAL finds invalid or less than 128 bits secure.
    """

    def __init__(self, parameters: Parameters):
        chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        chosen.set_poly_modulus_degree(parameters.degree)
        chosen.set_coeff_modulus(seal.CoeffModulus.Create(parameters.degree, list(parameters.prime_bits)))
        self.parameters = parameters
        self.context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise CkksError(f"{parameters} is refused: {self.context.parameters_error_message()}.")
        self.encoder = seal.CKKSEncoder(self.context)
        self.scale = 2.0**parameters.scale_bits
        self._last_primes, self._parms = [], []
        data = self.context.first_context_data()
        while data is not None:
            self._parms.append(data.parms_id())
            self._last_primes.append(float(data.parms().coeff_modulus()[-1].value()))
            data = data.next_context_data()

    def level(self, item: seal.Ciphertext | seal.Plaintext) -> int:
        """Multiplications that ``item`` still allows."""
        return len(self._parms) - 1 - self._parms.index(item.parms_id())

    def parms_at(self, level: int) -> Sequence[int]:
        """SEAL's name for ``level``."""
        return self._parms[len(self._parms) - 1 - level]

    def last_prime(self, level: int) -> float:
        """The prime by which a multiplication at ``level`` divides."""
        return self._last_primes[len(self._parms) - 1 - level]

    def encode(self, values: Sequence[float] | np.ndarray, level: int, scale: float | None = None) -> seal.Plaintext:
        """``values`` (slots,), real or complex, as a plaintext at ``level``."""
        plain = seal.Plaintext()
        listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
        self.encoder.encode(listed, self.parms_at(level), scale or self.scale, plain)
        return plain

    def galois_elements(self, rotations: Iterable[int], conjugation: bool = False) -> list[int]:
        """SEAL's names of rotations to the left, powers of 3 modulo 2N, and of complex conjugation, −1."""
        slots, modulus = self.parameters.slots, 2 * self.parameters.degree
        found = [pow(3, rotation % slots, modulus) for rotation in sorted(set(rotations))]
        return [*found, modulus - 1] if conjugation else found

    def read_ciphertext(self, data: bytes) -> seal.Ciphertext:
        """The ciphertext that ``data`` holds. Raises CkksError where it is not one of two parts under these parameters."""
        found = self._read(seal.Ciphertext(), data, "ciphertext")
        if found.size() != 2:
            raise CkksError(f"A ciphertext of {found.size()} parts came; 2 were expected.")
        return found

    def read_galois_keys(self, data: bytes) -> seal.GaloisKeys:
        return self._read(seal.GaloisKeys(), data, "set of rotation keys")

    def read_relin_keys(self, data: bytes) -> seal.RelinKeys:
        return self._read(seal.RelinKeys(), data, "multiplication key")

    def read_public_key(self, data: bytes) -> seal.PublicKey:
        return self._read(seal.PublicKey(), data, "public key")

    def _read(self, target, data: bytes, what: str):
        with _scratch() as path:
            path.write_bytes(data)
            try:
                target.load(self.context, str(path))
            except (RuntimeError, ValueError) as error:
                raise CkksError(f"These {len(data)} bytes are not a {what} under these parameters: {error}.") from None
        return target


class KeyHolder(Scheme):
    """The one party that can read: makes a secret key, which never leaves this object.

    Args:
        rotations: rotations to the left that the other party will need.
        conjugation: whether it will need complex conjugates.
    """

    def __init__(self, parameters: Parameters, rotations: Iterable[int] = (), conjugation: bool = False):
        super().__init__(parameters)
        self._generator = seal.KeyGenerator(self.context)
        secret = self._generator.secret_key()
        self._encryptor = seal.Encryptor(self.context, secret)
        self._decryptor = seal.Decryptor(self.context, secret)
        self._elements = self.galois_elements(rotations, conjugation)

    def evaluation_keys(self) -> tuple[bytes, bytes]:
        """(rotation keys, multiplication key): what others need to compute, and cannot read anything with."""
        galois = self._generator.create_galois_keys(self._elements) if self._elements else seal.GaloisKeys()
        return to_bytes(galois), to_bytes(self._generator.create_relin_keys())

    def public_key(self) -> bytes:
        """A key with which others can encrypt."""
        public = seal.PublicKey()
        self._generator.create_public_key(public)
        return to_bytes(public)

    def encrypt(self, values: Sequence[float] | np.ndarray, scale: float | None = None) -> bytes:
        """``values`` (slots,) as a fresh ciphertext. Half its size is a seed, so it is half as long as one that was computed."""
        return to_bytes(self._encryptor.encrypt_symmetric(self.encode(values, self.parameters.levels, scale)))

    def decrypt(self, data: bytes) -> np.ndarray:
        """The numbers (slots,) float64 in a ciphertext. **Never hand them on to whoever computed it** (Li and Micciancio 2021)."""
        plain = seal.Plaintext()
        self._decryptor.decrypt(self.read_ciphertext(data), plain)
        return np.array(self.encoder.decode_double(plain))


class Evaluator(Scheme):
    """The party that computes: it has no secret key, so it can read nothing.

    Args:
        galois_keys, relin_keys: of :meth:`KeyHolder.evaluation_keys`.
    """

    def __init__(self, parameters: Parameters, galois_keys: bytes, relin_keys: bytes):
        super().__init__(parameters)
        self._galois, self._relin = self.read_galois_keys(galois_keys), self.read_relin_keys(relin_keys)
        self._evaluator = seal.Evaluator(self.context)

    def rotate(self, a: seal.Ciphertext, steps: int) -> seal.Ciphertext:
        """Slot i of the result is slot i + ``steps`` of ``a``."""
        if not steps:
            return a
        out = seal.Ciphertext()
        self._evaluator.rotate_vector(a, steps, self._galois, out)
        return out

    def conjugate(self, a: seal.Ciphertext) -> seal.Ciphertext:
        """The complex conjugate of every slot."""
        out = seal.Ciphertext()
        self._evaluator.complex_conjugate(a, self._galois, out)
        return out

    def subtract(self, a: seal.Ciphertext, b: seal.Ciphertext) -> seal.Ciphertext:
        """a − b of one level and one scale."""
        out = seal.Ciphertext()
        self._evaluator.sub(a, b, out)
        return out

    def add(self, a: seal.Ciphertext, b: seal.Ciphertext) -> seal.Ciphertext:
        """a + b of one level and one scale."""
        out = seal.Ciphertext()
        self._evaluator.add(a, b, out)
        return out

    def add_plain(self, a: seal.Ciphertext, plain: seal.Plaintext) -> seal.Ciphertext:
        out = seal.Ciphertext()
        self._evaluator.add_plain(a, plain, out)
        return out

    def times_plain(self, a: seal.Ciphertext, plain: seal.Plaintext) -> seal.Ciphertext:
        """a · plain, not rescaled."""
        out = seal.Ciphertext()
        self._evaluator.multiply_plain(a, plain, out)
        return out

    def times(self, a: seal.Ciphertext, b: seal.Ciphertext) -> seal.Ciphertext:
        """a · b of one level, of three parts, not rescaled."""
        out = seal.Ciphertext()
        if a is b:
            self._evaluator.square(a, out)
        else:
            self._evaluator.multiply(a, b, out)
        return out

    def relinearize(self, a: seal.Ciphertext) -> seal.Ciphertext:
        """A product of ciphertexts back to two parts, in place."""
        self._evaluator.relinearize_inplace(a, self._relin)
        return a

    def settle(self, a: seal.Ciphertext) -> seal.Ciphertext:
        """A product of ciphertexts back to two parts and one level lower."""
        return self.rescale(self.relinearize(a))

    def rescale(self, a: seal.Ciphertext) -> seal.Ciphertext:
        """One level lower, the scale divided by that level's prime."""
        out = seal.Ciphertext()
        self._evaluator.rescale_to_next(a, out)
        return out

    def rerandomized(self, a: seal.Ciphertext, public_key: seal.PublicKey) -> seal.Ciphertext:
        """``a`` plus a fresh encryption of zero: the key holder, who made the inputs' randomness, no longer knows that of ``a``."""
        zero, out = seal.Ciphertext(), seal.Ciphertext()
        seal.Encryptor(self.context, public_key).encrypt_zero(a.parms_id(), zero)
        zero.scale = a.scale
        self._evaluator.add(a, zero, out)
        return out

    def lower(self, a: seal.Ciphertext, level: int) -> seal.Ciphertext:
        """``a`` at ``level``, its values and scale unchanged."""
        if self.level(a) == level:
            return a
        out = seal.Ciphertext()
        self._evaluator.mod_switch_to(a, self.parms_at(level), out)
        return out


def to_bytes(item) -> bytes:
    """A SEAL object in SEAL's own format. Not for secret keys: SEAL writes only to files, and this passes through one."""
    with _scratch() as path:
        item.save(str(path))
        return path.read_bytes()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A file that SEAL can write or read, in memory where the system has such a place, gone afterwards."""
    handle, name = tempfile.mkstemp(prefix="privlab-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.close(handle)
    path = Path(name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
