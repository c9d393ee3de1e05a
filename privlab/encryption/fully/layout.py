"""Where records, weights and results stand in the slots. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privlab.encryption.fully.arithmetic import FullyError

#: N, sizes of the primes and the scale, all in bits but N: three multiplications in a row, N/2 = 8192 numbers a ciphertext, 128-bit security.
PARAMETERS = (16384, (54, 40, 40, 40, 60), 40)
SLOTS = PARAMETERS[0] // 2
#: Most ciphertexts that the records of one training fill; each takes about 0.1 s a step.
MOST_BLOCKS = 64


@dataclass(frozen=True)
class Layout:
    """Slot = window · (1 + input) + record: sums over inputs and over records are both rotations, the first one cyclic.

    The first window stays empty: SEAL rounds with a small bias, which adds up in the very first slot.

    Attributes:
        records, inputs: n and d.

    Raises:
        FullyError: more inputs or records than are let in.
    """

    records: int
    inputs: int

    def __post_init__(self) -> None:
        if not 1 <= self.inputs < SLOTS // 2:
            raise FullyError(f"{self.inputs} inputs were given; encrypted training takes 1 to {SLOTS // 2 - 1}.")
        if self.blocks > MOST_BLOCKS:
            raise FullyError(
                f"{self.records:,} records of {self.inputs} inputs fill {self.blocks} ciphertexts, about {self.blocks * 0.1:.0f} s a step; "
                f"encrypted training takes at most {MOST_BLOCKS}, {MOST_BLOCKS * self.window:,} records of this width."
            )

    @property
    def features(self) -> int:
        """Windows in a ciphertext: d and the empty one, rounded up to a power of two."""
        return 1 << self.inputs.bit_length()

    @property
    def window(self) -> int:
        """B, records in one ciphertext."""
        return SLOTS // self.features

    @property
    def blocks(self) -> int:
        """Ciphertexts that all records fill."""
        return -(-self.records // self.window)

    @property
    def over_inputs(self) -> tuple[int, ...]:
        """Rotations that add up a record's slots; cyclic, so every slot has the sum."""
        return tuple(self.window << k for k in range(self.features.bit_length() - 1))

    @property
    def over_records(self) -> tuple[int, ...]:
        """Rotations that add up a window, into its first slot."""
        return tuple(1 << k for k in range(self.window.bit_length() - 1))

    @property
    def result_slots(self) -> np.ndarray:
        """Where the new weights stand after a step, int (d,)."""
        return self.window * np.arange(1, 1 + self.inputs)

    def blocks_of(self, v: np.ndarray) -> list[np.ndarray]:
        """Records (n, d) as slots, (SLOTS,) for each block; zeros fill up."""
        padded = np.zeros((self.blocks * self.window, self.features))
        padded[: self.records, 1 : 1 + self.inputs] = v
        return [part.T.ravel() for part in np.split(padded, self.blocks)]

    def spread(self, w: np.ndarray) -> np.ndarray:
        """Weights (d,) before every record, (SLOTS,)."""
        padded = np.zeros(self.features)
        padded[1 : 1 + self.inputs] = w
        return np.repeat(padded, self.window)

    def results(self, slots: np.ndarray) -> np.ndarray:
        """The new weights (d,) in what was decrypted (SLOTS,)."""
        return slots[self.result_slots]
