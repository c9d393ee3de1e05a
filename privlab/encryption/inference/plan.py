"""What both parties of an encrypted classification must know: sizes of the layers, layouts, and the scheme's parameters. All public."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from privlab.encryption.inference.layers import NotEncryptable
from privlab.encryption.inference.packing import Layout, first_layout, next_layout

#: (N, sizes of the primes, scale of the input) for one layer, two with a square between (3 levels), two with a polynomial (2 levels).
#: Each sum is within what 128-bit security allows for N (109 bits at 4096, 218 at 8192). For one layer and for squares the inner primes
#: match the scale, and each product is divided by one. A rotation costs the *square* of the number of primes, so with a polynomial they
#: are few and large, and several products share a division (:class:`Scales`).
_LINEAR = (4096, (40, 29, 40), 29)
_WIDE_LINEAR = (8192, (40, 29, 40), 29)
_SQUARE = (8192, (54, 36, 36, 36, 54), 36)
_TANH = (8192, (57, 56, 58, 47), 19)
#: Largest absolute value of an input.
MOST_INPUT = 1.0


@dataclass(frozen=True)
class Scales:
    """Bits of precision in the circuit with a polynomial, whose primes are p₀ = 2⁵⁷, p₁ = 2⁵⁶, p₂ = 2⁵⁸.

    t, the input 2¹⁹ times weights, is not divided. t² is, by p₂, and has ``squared`` left. The rest stays at p₀·p₁: t⁴ has twice
    ``squared`` and the polynomial four times, 92 of 113 bits. The last layer's weights get up to 16 of the others, fewer where logits are
    large. Errors: some 2¹⁰ in every slot from the division, which is 10⁻⁴ of t², and less in the mean over a unit's 64 slots; rotations
    add theirs to t of 2^40.5 and to what is larger.
    """

    first_weights: float = 21.5
    squared: float = 23.0
    most_last: int = 16
    least_last: int = 6


SCALES = Scales()


@dataclass(frozen=True)
class Plan:
    """An encrypted classification before there are keys.

    Attributes:
        sizes: inputs, units of the hidden layer if there is one, classes.
        activation: "tanh" or "square" for two layers, None for one.
    """

    sizes: tuple[int, ...]
    activation: str | None

    @property
    def choice(self) -> tuple[int, tuple[int, ...], int]:
        """(N, sizes of the primes in bits, scale in bits)."""
        if self.activation is None:
            outputs_and_inputs = self.sizes[-1] * 2 + self.sizes[0]
            return _LINEAR if outputs_and_inputs <= _LINEAR[0] // 2 else _WIDE_LINEAR
        return _TANH if self.activation == "tanh" else _SQUARE

    @property
    def last_bits(self) -> float:
        """Bits above the result's scale that are left for the last layer's weights and the logits, with their sign and some air."""
        _, primes, scale = self.choice
        return sum(primes[:2]) - 4 * SCALES.squared if self.activation == "tanh" else primes[0] - scale

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """One for each layer.

        Raises:
            NotEncryptable: too many inputs for a ciphertext.
        """
        slots = self.choice[0] // 2
        try:
            found = [first_layout(self.sizes[1], self.sizes[0], slots, paired=self.activation == "tanh")]
        except ValueError as error:
            raise NotEncryptable(f"The model is too wide for encrypted inference: {error}") from None
        for outputs in self.sizes[2:]:
            found.append(next_layout(outputs, found[-1]))
        return tuple(found)

    @property
    def rotations(self) -> tuple[int, ...]:
        """Rotations for which the computing party needs keys."""
        return tuple(sorted(set().union(*(layout.rotations for layout in self.layouts))))

    def to_dict(self) -> dict:
        return {"sizes": list(self.sizes), "activation": self.activation}

    @classmethod
    def from_dict(cls, given: dict) -> Plan:
        return cls(tuple(given["sizes"]), given["activation"])
