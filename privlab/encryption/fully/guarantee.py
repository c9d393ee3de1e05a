"""How much noise goes into the ciphertext, and what it guarantees. Derived in docs/encryption.md, “Fully encrypted training”."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from privlab.encryption.fully.arithmetic import GRADIENT_BOUND, FullyError
from privlab.encryption.fully.layout import SLOTS, Layout
from privlab.privacy.accounting import LEAST_NOISE, MOST_NOISE, curve_of
from privlab.privacy.phases import Phase

#: Bound on the error of each new weight by CKKS itself: this, times the root of the records' places, grown by ten times the scale.
#: It is ten standard deviations and more of what is measured for scales from 1e-4 to 1; a test measures again.
_ERROR = 4.5e-8
#: Noise in the slots that hold no result is this many times that in those that do.
ELSEWHERE = 4096.0
#: Largest deviation of that noise, in weights, that the last prime of the ciphertext has room for.
_ROOM = 5e4


@dataclass(frozen=True)
class Guarantee:
    """The Gaussian mechanism of one step, and of many.

    Attributes:
        noise_multiplier: σ: standard deviation of the noise over the sensitivity. 0 is no noise and no guarantee.
        delta: δ.
        scale: learning rate over records, by which the sum of gradients becomes a step of the weights.
        layout: of the records in ciphertexts.
    """

    noise_multiplier: float
    delta: float
    scale: float
    layout: Layout

    def __post_init__(self) -> None:
        sigma = self.noise_multiplier
        if not (sigma == 0 or LEAST_NOISE <= sigma <= MOST_NOISE):
            raise FullyError(f"noise_multiplier={sigma:g} must be 0 or lie between {LEAST_NOISE:g} and {MOST_NOISE:g}.")
        if self.noise_elsewhere > _ROOM:
            raise FullyError(
                f"Noise of {self.noise_elsewhere:,.0f} in the unused slots is more than the ciphertext has room for ({_ROOM:,.0f}); "
                "take a smaller learning rate or less noise."
            )

    @property
    def weight_error(self) -> float:
        """How far CKKS itself is taken to move each new weight, at most."""
        return _ERROR * math.sqrt(self.layout.window * self.layout.blocks) * (1 + 10 * self.scale)

    @property
    def sensitivity(self) -> float:
        """How far one record moves the sum of gradients that the ciphertext holds: M, and twice what CKKS may be off by."""
        return GRADIENT_BOUND + 2 * self.weight_error * math.sqrt(self.layout.inputs) / self.scale

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each new weight."""
        return self.noise_multiplier * self.sensitivity * self.scale

    @property
    def noise_elsewhere(self) -> float:
        """Standard deviation of the noise in both parts of every slot that is no result, and in the results' imaginary parts."""
        return ELSEWHERE * self.noise_std

    @property
    def accounted(self) -> float:
        """The noise multiplier that is accounted: a little less than σ, for what a record moves in all other slots counts too.

        There one record moves at most √B·M, and CKKS errs in either part of any slot, for either of two neighbours.
        """
        errors = 2 * self.weight_error * math.sqrt(2 * SLOTS) / self.scale
        moved = math.sqrt(self.layout.window) * GRADIENT_BOUND + errors
        return self.noise_multiplier / math.sqrt(1 + (moved / (ELSEWHERE * self.sensitivity)) ** 2)

    def epsilons(self, steps: int) -> np.ndarray:
        """ε after each of 1 … ``steps`` steps, (steps,); one record added or removed, all records in every step.

        Raises:
            FullyError: δ or σ out of the accountant's range.
        """
        if not self.noise_multiplier:
            return np.full(steps, math.inf)
        try:
            return curve_of((Phase(1.0, self.accounted, steps),), range(1, steps + 1), self.delta)
        except ValueError as error:
            raise FullyError(str(error)) from None

    def noise(self) -> np.ndarray:
        """Fresh noise for all slots, complex (slots,)."""
        results, drawn = self.layout.result_slots, normal(2 * SLOTS)
        noise = (drawn[:SLOTS] + 1j * drawn[SLOTS:]) * self.noise_elsewhere
        noise.real[results] = drawn[results] * self.noise_std
        return noise


def normal(count: int) -> np.ndarray:
    """Independent draws from N(0, 1), float64 (count,), from the operating system's cryptographic generator.

    By the transform of Box and Muller (1958), √(−2·log U)·cos V, with 63 random bits for U, so that draws reach to 9.4 standard
    deviations, and 53 for V.
    """
    words = np.frombuffer(os.urandom(16 * count), dtype=np.uint64).reshape(2, count)
    radius = np.sqrt(-2 * np.log(((words[0] >> np.uint64(1)).astype(np.float64) + 0.5) * 2.0**-63))
    return radius * np.cos((words[1] >> np.uint64(11)).astype(np.float64) * (2 * math.pi * 2.0**-53))
