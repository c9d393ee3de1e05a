"""One gradient step on ciphertext: three multiplications in a row, whatever the number of records.

With v = y·x the step w + (lr/n)·Σ v·(½ − c₁z + c₃z³), z = w·v, is computed as

    w + Σ ½(lr/n)·v + Σ [(lr/n)/√c₃·v·z′]·(z′² − c₁),  z′ = √c₃·v·w.

v comes in two scalings, V′ = √c₃·v and V″ = (lr/n)/√c₃·v, and the sum of the first term once; both encrypted, or both plain.
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
        first, second: V′ and V″, one array (slots,) a block.
        half: Σ over blocks of ½(lr/n)·v, (slots,).
    """

    first: list[np.ndarray]
    second: list[np.ndarray]
    half: np.ndarray


def scaled(layout: Layout, v: np.ndarray, scale: float) -> Scaled:
    """Args: ``v`` = y·x (n, d); ``scale`` = learning rate over records."""
    blocks, root = layout.blocks_of(v), math.sqrt(C3)
    return Scaled([root * b for b in blocks], [scale / root * b for b in blocks], sum(0.5 * scale * b for b in blocks))


def second_scale(on: Scheme) -> float:
    """The CKKS scale of V″ with which the result comes out at exactly the scale of w."""
    z = on.scale**2 / on.last_prime(3)
    return on.scale * on.last_prime(2) ** 2 * on.last_prime(1) / z**3


def encrypted(keys: KeyHolder, records: Scaled) -> list[bytes]:
    """All of ``records`` as ciphertexts: V′ of each block, V″ of each block, the half."""
    second = second_scale(keys)
    return [
        *(keys.encrypt(block) for block in records.first),
        *(keys.encrypt(block, second) for block in records.second),
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
            self._first = [on.encode(block, 3) for block in records.first]
            self._second = [on.encode(block, 2, second_scale(on)) for block in records.second]
            self._half = on.encode(records.half, 0)
        else:
            read, count = [on.read_ciphertext(data) for data in records], layout.blocks
            self._first, self._half = read[:count], on.lower(read[-1], 0)
            self._second = [on.lower(block, 2) for block in read[count:-1]]
        slots = on.parameters.slots
        self._minus_c1 = on.encode(np.full(slots, -C1), 1, (on.scale**2 / on.last_prime(3)) ** 2 / on.last_prime(2))

    def __call__(self, w: seal.Ciphertext) -> seal.Ciphertext:
        """The next weights, in the first slot of each window, at the last level; the other slots hold parts of sums.

        Args:
            w: fresh, spread as :meth:`Layout.spread` says.
        """
        on, total = self._on, None
        for first, second in zip(self._first, self._second, strict=True):
            z = self._times(w, first)
            for rotation in self._layout.over_inputs:
                z = on.add(z, on.rotate(z, rotation))
            square = on.add_plain(on.settle(on.times(z, z)), self._minus_c1)
            part = on.times(self._times(z, second), square)
            total = part if total is None else on.add(total, part)
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
