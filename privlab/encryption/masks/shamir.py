"""Shamir shares of a secret."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from privlab.encryption.masks.messages import MaskError

#: Shares lie in the integers modulo this Mersenne prime, far above any 256-bit secret.
_PRIME = 2**521 - 1
#: Of one share, as it is sent.
SHARE_BYTES = 66


def split(secret: bytes, threshold: int, holders: Iterable[int]) -> dict[int, int]:
    """Shamir shares (1979) of a 32-byte secret, by holder: values at holder + 1 of a random polynomial of degree
    threshold − 1 whose value at 0 is the secret. Fewer than ``threshold`` of them say nothing about it."""
    coefficients = [int.from_bytes(secret, "big"), *(secrets.randbelow(_PRIME) for _ in range(threshold - 1))]
    found = {}
    for holder in holders:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * (holder + 1) + coefficient) % _PRIME
        found[holder] = value
    return found


def join(shares: Mapping[int, int], threshold: int) -> bytes:
    """The secret of :func:`split`, by Lagrange interpolation at 0.

    Raises:
        MaskError: fewer shares than ``threshold``, or shares that do not belong together.
    """
    if len(shares) < threshold:
        raise MaskError(f"Only {len(shares)} shares of a secret are there; {threshold} are needed.")
    chosen = sorted(shares.items())[:threshold]
    total = 0
    for holder, value in chosen:
        factor = 1
        for other, _ in chosen:
            if other != holder:
                factor = factor * (other + 1) * pow(other - holder, -1, _PRIME) % _PRIME
        total = (total + value * factor) % _PRIME
    if total >> 256:
        raise MaskError("The shares of a secret do not belong together.")
    return total.to_bytes(32, "big")
