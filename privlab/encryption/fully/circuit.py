"""One gradient step on ciphertext: three multiplications in a row, whatever the number of records.

With v = y·x the step w + (lr/n)·Σ v·(½ − c₁z + c₃z³), z = w·v, is computed as

    w + Σ ½(lr/n)·v + Σ [(lr/n)/√c₃·v·z′]·(z′² − c₁),  z′ = √c₃·v·w.

Slots hold complex numbers, and w is real: two blocks of records travel as one, √c₃·(v_a + i·v_b), through the first product and all
rotations over the inputs, which give Z = z′_a + i·z′_b. Its conjugate parts them: S = Z + Z̄ = 2z′_a and D = Z − Z̄ = 2i·z′_b, and with
u = (lr/n)/√c₃·v the two terms are (u_a/8)·S·(S² − 4c₁) and (i·u_b/8)·D·(D² + 4c₁).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from privlab.encryption.ckks import Evaluator, KeyHolder, Scheme, seal
from privlab.encryption.fully.arithmetic import C1, C3
from privlab.encryption.fully.layout import Layout


@dataclass(frozen=True)
class Scaled:
    """The records as the circuit takes them, in slots.

    Attributes:
        pairs: √c₃·(v_a + i·v_b), one array (slots,) for two blocks; the last one is real where blocks are odd.
        factors: u_a/8 and i·u_b/8 in turns, one array (slots,) a block.
        half: Σ over blocks of ½(lr/n)·v, (slots,).
    """

    pairs: list[np.ndarray]
    factors: list[np.ndarray]
    half: np.ndarray


def scaled(layout: Layout, v: np.ndarray, scale: float) -> Scaled:
    """Args: ``v`` = y·x (n, d); ``scale`` = learning rate over records."""
    blocks, root = layout.blocks_of(v), math.sqrt(C3)
    pairs = [root * (pair[0] + 1j * pair[1] if len(pair) == 2 else pair[0]) for pair in _by_two(blocks)]
    factors = [scale / root / 8 * block * (1j if number % 2 else 1) for number, block in enumerate(blocks)]
    return Scaled(pairs, factors, sum(0.5 * scale * block for block in blocks))


def second_scale(on: Scheme) -> float:
    """The CKKS scale of the factors with which the result comes out at exactly the scale of w."""
    z = on.scale**2 / on.last_prime(3)
    return on.scale * on.last_prime(2) ** 2 * on.last_prime(1) / z**3


def encrypted(keys: KeyHolder, records: Scaled) -> list[bytes]:
    """All of ``records`` as ciphertexts: the pairs, the factors, the half."""
    second = second_scale(keys)
    return [
        *(keys.encrypt(pair) for pair in records.pairs),
        *(keys.encrypt(factor, second) for factor in records.factors),
        keys.encrypt(records.half),
    ]


class Step:
    """The computing party's part of a step.

    Args:
        records: plain (:class:`Scaled`, C1), or the ciphertexts of :func:`encrypted` (C2).
    """

    def __init__(self, on: Evaluator, layout: Layout, records: Scaled | list[bytes]):
        self._on, self._layout = on, layout
        if isinstance(records, Scaled):
            self._pairs = [on.encode(pair, 3) for pair in records.pairs]
            factors = [on.encode(factor, 2, second_scale(on)) for factor in records.factors]
            self._half = on.encode(records.half, 0)
        else:
            read = [on.read_ciphertext(data) for data in records]
            self._pairs, self._half = read[: -layout.blocks - 1], on.lower(read[-1], 0)
            factors = [on.lower(factor, 2) for factor in read[-layout.blocks - 1 : -1]]
        self._factors = _by_two(factors)
        slots, scale = on.parameters.slots, (on.scale**2 / on.last_prime(3)) ** 2 / on.last_prime(2)
        self._shifts = [on.encode(np.full(slots, sign * 4 * C1), 1, scale) for sign in (-1, 1)]

    def __call__(self, w: seal.Ciphertext) -> seal.Ciphertext:
        """The next weights, in the first slot of each result's window, at the last level; the other slots hold parts of sums.

        Args:
            w: fresh, spread as :meth:`Layout.spread` says.
        """
        on, total = self._on, None
        for pair, factors in zip(self._pairs, self._factors, strict=True):
            z = self._times(w, pair)
            for rotation in self._layout.over_inputs:
                z = on.add(z, on.rotate(z, rotation))
            if len(factors) == 2:
                mirrored = on.conjugate(z)
                parts = on.add(z, mirrored), on.subtract(z, mirrored)
            else:
                parts = (on.add(z, z),)
            for part, factor, shift in zip(parts, factors, self._shifts, strict=False):
                square = on.add_plain(on.settle(on.times(part, part)), shift)
                term = on.times(self._times(part, factor), square)
                total = term if total is None else on.add(total, term)
        total = on.settle(total)
        total.scale = on.scale
        total = (
            on.add(total, self._half) if isinstance(self._half, seal.Ciphertext) else on.add_plain(total, self._half)
        )
        for rotation in self._layout.over_records:
            total = on.add(total, on.rotate(total, rotation))
        return on.add(total, on.lower(w, 0))

    def _times(self, a: seal.Ciphertext, b: seal.Ciphertext | seal.Plaintext) -> seal.Ciphertext:
        """a · b, one level lower."""
        on = self._on
        return on.settle(on.times(a, b)) if isinstance(b, seal.Ciphertext) else on.rescale(on.times_plain(a, b))


def _by_two(items: list) -> list[list]:
    return [items[at : at + 2] for at in range(0, len(items), 2)]
