"""Fixed point: exact sums, honest rounding, and refusal of what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from privlab.encryption.fixedpoint import (
    BFV_MODULUS,
    PAD_MODULUS,
    FixedPointTwin,
    RangeError,
    bound,
    centred,
    decode,
    encode,
)

BOTH = pytest.mark.parametrize("modulus", [PAD_MODULUS, BFV_MODULUS])


def test_golden_residues() -> None:
    values = np.array([0.0, 1.0, -1.0, 2.0**-24, 0.5 * 2.0**-24, 1.5 * 2.0**-24, 3.14159, -127.5])
    # Halves go to the even neighbour, as IEEE 754 rounds.
    assert encode(values, PAD_MODULUS).tolist() == [0, 1 << 24, -(1 << 24), 1, 0, 2, 52707134, -2139095040]


def test_the_moduli_are_what_the_schemes_need() -> None:
    assert PAD_MODULUS == 2**32
    assert BFV_MODULUS % 8192 == 1, "4096 values pack only if t ≡ 1 modulo 2·4096"
    assert BFV_MODULUS.bit_length() == 33
    assert all(BFV_MODULUS % factor for factor in range(2, 92_682)), "t must be a prime"


@BOTH
def test_rounding_costs_at_most_half_a_step(modulus: int) -> None:
    values = np.random.default_rng(1).uniform(-bound(modulus), bound(modulus), 10_000)
    assert np.abs(decode(encode(values, modulus)) - values).max() <= 2.0**-25


@BOTH
def test_bounds_fit_and_the_next_value_is_refused_by_name(modulus: int) -> None:
    limit = bound(modulus)
    assert decode(encode(np.array([limit, -limit]), modulus)).tolist() == [limit, -limit]
    for value in (limit + 2.0**-24, -limit - 2.0**-24, np.nan, np.inf):
        with pytest.raises(RangeError, match=rf"Value 1 is .*holds −{limit:.6g} to {limit:.6g}"):
            encode(np.array([0.0, value]), modulus)


@BOTH
def test_residues_are_the_nearest_to_zero(modulus: int) -> None:
    half = modulus // 2
    shifted = np.array([0, half - 1, half, modulus, -half, -half - 1, 7 * modulus + 5], dtype=np.int64)
    expected = [(value + half) % modulus - half for value in shifted.tolist()]
    assert centred(shifted, modulus).tolist() == expected
    assert max(expected) <= modulus - half - 1
    assert min(expected) >= -half


def test_the_twin_adds_exactly_and_wraps() -> None:
    twin = FixedPointTwin(PAD_MODULUS)
    twin.put(np.array([100.0, 0.1]))
    twin.add(np.array([27.0, 0.2]))
    assert twin.open().tolist() == [127.0, (round(0.1 * 2**24) + round(0.2 * 2**24)) / 2**24]
    twin.add(np.array([1.0, 0.0]))
    assert twin.open()[0] == -128.0
