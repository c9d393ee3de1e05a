"""Fixed point: real numbers as whole multiples of 2⁻²⁴ modulo t, so that encrypted sums can be exact to the last bit.

A number x is kept as the integer round(x·2²⁴), reduced modulo t and read back as the residue nearest to 0. Sums of residues are exact,
in any order, as long as the true sum stays within ±t/2; rounding costs each value at most 2⁻²⁵ ≈ 3·10⁻⁸ once.
"""

from __future__ import annotations

import numpy as np

SCALE_BITS = 24
SCALE = float(1 << SCALE_BITS)

#: Residues of the masked store: 32-bit words that wrap by themselves; numbers from −128 up to 128.
PAD_MODULUS = 1 << 32
#: Plain modulus of the BFV store: the smallest 33-bit prime ≡ 1 mod 8192 that packs 4096 values; numbers within ±256.
BFV_MODULUS = 8589852673


class RangeError(ValueError):
    """A number that fixed point cannot hold; the message names the number and the bound."""


def bound(modulus: int) -> float:
    """The largest number that ``modulus`` lets in, (t/2 − 1)·2⁻²⁴; the smallest one is its negative."""
    return (modulus // 2 - 1) / SCALE


def check_range(values: np.ndarray, modulus: int) -> None:
    """Refuse ``values`` beyond ± :func:`bound`, NaN included. Raises RangeError naming the first one and the bound."""
    limit = bound(modulus)
    if values.size and not (values.max() <= limit and values.min() >= -limit):
        at = int(np.flatnonzero(~(np.abs(values) <= limit))[0])
        raise RangeError(
            f"Value {at} is {values[at]:.6g}; fixed point with {SCALE_BITS} bits behind the point holds −{limit:.6g} to {limit:.6g}."
        )


def encode(values: np.ndarray, modulus: int) -> np.ndarray:
    """``values`` float64 as int64 residues within ±t/2, each rounded to the nearest multiple of 2⁻²⁴. Raises RangeError."""
    check_range(values, modulus)
    return encode_checked(values)


def encode_checked(values: np.ndarray) -> np.ndarray:
    """:func:`encode` for values that :func:`check_range` has seen already."""
    scaled = values * SCALE
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int64)


def decode(residues: np.ndarray) -> np.ndarray:
    """int residues within ±t/2 as float64: exact, since 33 bits fit a float64."""
    return residues * (1 / SCALE)


def centred(integers: np.ndarray, modulus: int) -> np.ndarray:
    """int64 ``integers`` reduced modulo t to −⌊t/2⌋ … ⌈t/2⌉ − 1."""
    half = modulus // 2
    return (integers + half) % modulus - half


class FixedPointTwin:
    """What an exact store must hold: the same sums in plain, modulo t.

    Args:
        modulus: :data:`PAD_MODULUS` or :data:`BFV_MODULUS`.
    """

    def __init__(self, modulus: int):
        self.modulus = modulus
        self._residues = np.zeros(0, dtype=np.int64)

    def put(self, vector: np.ndarray) -> None:
        """Start from ``vector`` (d,). Raises RangeError."""
        self._residues = encode(np.asarray(vector, dtype=np.float64), self.modulus)

    def add(self, update: np.ndarray) -> None:
        """Add one owner's ``update`` (d,). Raises RangeError."""
        self._residues = centred(
            self._residues + encode(np.asarray(update, dtype=np.float64), self.modulus), self.modulus
        )

    def open(self) -> np.ndarray:
        """The sum so far, (d,) float64."""
        return decode(self._residues)
