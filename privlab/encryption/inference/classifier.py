"""Classification of an encrypted record: one party has the record and the key, the other has the model and reads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log2

import numpy as np

from privlab.encryption.ckks import CkksError, Evaluator, KeyHolder, Parameters, seal, to_bytes
from privlab.encryption.inference.layers import Layer, NotEncryptable, check_layers
from privlab.encryption.inference.plan import MOST_INPUT, SCALES, Plan
from privlab.encryption.inference.polynomial import DEGREE, fit_tanh
from privlab.encryption.inference.wire import join, split


class ClassifierClient:
    """The party that has the record: it makes the keys and keeps the secret one.

    Args:
        plan: of the classifier, :attr:`EncryptedClassifier.plan`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._keys = KeyHolder(Parameters(*plan.choice), plan.rotations, conjugation=plan.layouts[0].paired)

    def evaluation_keys(self) -> tuple[bytes, bytes]:
        """What the classifier needs once, before the first record."""
        return self._keys.evaluation_keys()

    def encrypt(self, x: np.ndarray) -> bytes:
        """A record (inputs,) with values in −1…1 as ciphertext.

        Raises:
            NotEncryptable: a wrong number of values, or one that is out of range or not a number.
        """
        values = np.asarray(x, dtype=np.float64).ravel()
        if len(values) != self.plan.sizes[0]:
            raise NotEncryptable(f"The record has {len(values)} values; the model takes {self.plan.sizes[0]}.")
        wrong = np.flatnonzero(~(np.abs(values) <= MOST_INPUT))
        if len(wrong):
            raise NotEncryptable(
                f"Value {wrong[0]} of the record is {values[wrong[0]]:g}; it must lie within ±{MOST_INPUT:g}."
            )
        return join([self._keys.encrypt(slots) for slots in self.plan.layouts[0].write(values)])

    def decrypt(self, answer: bytes) -> np.ndarray:
        """Logits (classes,) of an answer. They stay with this party: they are approximate, and their error is not to be shown to
        the classifier (Li and Micciancio 2021)."""
        repeated = self._keys.decrypt(answer).reshape(-1, self.plan.layouts[-1].rows)
        # SEAL rounds with a small bias that adds up in the very first slot, so the first repetition is left out.
        return repeated[1:].mean(axis=0)[: self.plan.sizes[-1]]


class EncryptedClassifier:
    """The party that has the model. It has no secret key: what it is given and what it gives back is ciphertext to it.

    The client learns the logits and nothing else that is in a slot; the *error* of the answer depends on the model, so no claim is
    made that the model is hidden from a client who studies it, beside that whoever may ask often can copy a model anyway.
    """

    def __init__(self, layers: Sequence[Layer], activation: str | None, calibration: np.ndarray | None = None):
        check_layers(layers, activation)
        self.plan = Plan((np.shape(layers[0][0])[1], *(len(bias) for _, bias in layers)), activation)
        layouts = self.plan.layouts
        matrices, biases = (
            [np.asarray(part, dtype=np.float64) for part in parts] for parts in zip(*layers, strict=True)
        )
        self._powers: list[np.ndarray] | None = None
        if activation == "tanh":
            met = None if calibration is None else np.asarray(calibration, dtype=np.float64) @ matrices[0].T + biases[0]
            middle, half, powers = fit_tanh(met, len(biases[0]), matrices[1])
            matrices[0], biases[0] = matrices[0] / half[:, None], (biases[0] - middle) / half
            # The constant term costs nothing in the next layer's bias, nor the leading ±1 in its weights.
            biases[1] = biases[1] + matrices[1] @ powers[:, 0]
            matrices[1], powers = matrices[1] * powers[:, DEGREE], powers * powers[:, DEGREE:]
            self._powers = [layouts[0].tiled(column) for column in powers.T]
        self._last_scale = _last_scale(self.plan, matrices[-1], biases[-1])
        self._products = [
            (layout, layout.weights(matrix), layout.tiled(bias))
            for layout, matrix, bias in zip(layouts, matrices, biases, strict=True)
        ]

    @classmethod
    def from_layers(
        cls, layers: Sequence[Layer], activation: str | None, calibration: np.ndarray | None = None
    ) -> EncryptedClassifier:
        """A classifier from plain weights.

        Args:
            layers: (weights (outputs, inputs), bias (outputs,)) of one or two layers.
            activation: "tanh" or "square" between two, None for one.
            calibration: records (records, inputs) whose values show where each tanh works, for a closer polynomial. The fit is part
                of the model: take records that may be known, never private training data.

        Raises:
            NotEncryptable: layers that do not fit, in plain words.
        """
        return cls(layers, activation, calibration)

    def accept(self, galois_keys: bytes, relin_keys: bytes) -> None:
        """Take the client's evaluation keys and encode the weights for them, once."""
        self._evaluator = Evaluator(Parameters(*self.plan.choice), galois_keys, relin_keys)
        self._encoded: dict[tuple, seal.Plaintext] = {}

    def classify(self, record: bytes) -> bytes:
        """The encrypted logits of an encrypted record.

        Raises:
            CkksError: bytes that are not a ciphertext under this plan's parameters.
        """
        parts = split(record)
        if len(parts) != self.plan.layouts[0].messages:
            raise CkksError(f"These {len(record)} bytes are not a ciphertext of {self.plan.layouts[0].messages} parts.")
        shifted = [self._evaluator.read_ciphertext(part) for part in parts]
        if not self.plan.layouts[0].paired:
            shifted = self._baby_steps(0, shifted[0])
        values = self._product(0, shifted)
        if self.plan.activation is not None:
            values = self._square(values) if self._powers is None else self._polynomial(values)
            values = self._product(1, self._baby_steps(1, values))
        # Nothing is left to compute, so what is sent need not have more than one prime.
        while self._evaluator.level(values):
            values = self._evaluator.rescale(values)
        return to_bytes(values)

    def _baby_steps(self, number: int, values: seal.Ciphertext) -> list[seal.Ciphertext]:
        return [self._evaluator.rotate(values, baby) for baby in range(self.plan.layouts[number].babies)]

    def _product(self, number: int, shifted: list[seal.Ciphertext]) -> seal.Ciphertext:
        """matrix · values + bias, for values that were shifted by each baby step; one level, or none beside a polynomial."""
        layout, weights, bias = self._products[number]
        on, level = self._evaluator, self._evaluator.level(shifted[0])
        divides = self._powers is None
        # Encoded at the prime that rescaling divides by, so that the scale stays what it was.
        unit = on.last_prime(level) if divides else self._last_scale if number else 2.0**SCALES.first_weights
        total = None
        for giant in range(layout.giants):
            part = None
            for baby, moved in enumerate(shifted):
                if giant * layout.babies + baby < layout.shifts:
                    plain = self._plain(("weights", number, giant, baby), weights[giant, baby], level, unit)
                    part = _plus(on, part, on.times_plain(moved, plain))
            if divides:
                part = on.rescale(part)
                part.scale = shifted[0].scale
            total = _plus(on, total, on.rotate(part, giant * layout.babies))
        for fold in layout.folds:
            total = on.add(total, on.rotate(total, fold))
        if layout.paired:
            total = on.add(total, on.conjugate(total))
        return on.add_plain(total, self._plain(("bias", number), bias, on.level(total), total.scale))

    def _square(self, t: seal.Ciphertext) -> seal.Ciphertext:
        return self._evaluator.settle(self._evaluator.times(t, t))

    def _polynomial(self, t: seal.Ciphertext) -> seal.Ciphertext:
        """c₁t + … + c₇t⁷ + t⁸ with four products of ciphertexts, (c₁t + t²·(c₂ + c₃t)) + t⁴·(c₄ + c₅t + t²·(c₆ + c₇t + t²)):
        Paterson and Stockmeyer 1973. Only t² is divided by a prime; what is added has one scale, a power of that of t²."""
        on = self._evaluator
        t2 = self._square(t)
        unit = t2.scale
        lowered = on.lower(t, on.level(t2))
        t4 = on.relinearize(on.times(t2, t2))
        high = on.relinearize(on.times(t2, on.add(t2, self._pair(t, lowered, 6, unit))))
        t4.scale = high.scale = unit**2
        high = on.add(high, self._pair(t, lowered, 4, unit**2))
        product, rest = on.times(t4, high), on.times(t2, self._pair(t, lowered, 2, unit**3))
        product.scale = rest.scale = unit**4
        total = on.relinearize(on.add(product, rest))
        return on.add(total, self._term(t, lowered, 1, unit**4))

    def _pair(self, t: seal.Ciphertext, lowered: seal.Ciphertext, power: int, scale: float) -> seal.Ciphertext:
        """c_power + c_(power+1)·t at the level of ``lowered``, with ``scale``."""
        odd = self._term(t, lowered, power + 1, scale)
        level = self._evaluator.level(odd)
        return self._evaluator.add_plain(odd, self._plain(("constant", power), self._powers[power], level, scale))

    def _term(self, t: seal.Ciphertext, lowered: seal.Ciphertext, power: int, scale: float) -> seal.Ciphertext:
        """c_power·t at the level of ``lowered``, with ``scale``."""
        on, values = self._evaluator, self._powers[power]
        if scale / t.scale >= 2.0**SCALES.most_last:
            plain = self._plain(("power", power), values, on.level(lowered), scale / t.scale)
            out = on.times_plain(lowered, plain)
        else:
            level = on.level(t)
            plain = self._plain(("power", power), values, level, scale * on.last_prime(level) / t.scale)
            out = on.rescale(on.times_plain(t, plain))
        out.scale = scale
        return out

    def _plain(self, name: tuple, values: np.ndarray, level: int, scale: float) -> seal.Plaintext:
        """``values`` encoded, kept for the next record."""
        if name not in self._encoded:
            self._encoded[name] = self._evaluator.encode(values, level, scale)
        return self._encoded[name]


def _plus(on: Evaluator, total: seal.Ciphertext | None, part: seal.Ciphertext) -> seal.Ciphertext:
    return part if total is None else on.add(total, part)


def _last_scale(plan: Plan, matrix: np.ndarray, bias: np.ndarray) -> float | None:
    """Beside a polynomial the scale of the last layer's weights, such that there is room for the logits. Hidden values count as ±1.

    Raises:
        NotEncryptable: logits that could pass the room in the last primes.
    """
    if plan.activation == "square":
        return None
    bits = plan.last_bits - 2
    largest = float((np.abs(matrix).sum(axis=1) * MOST_INPUT + np.abs(bias)).max())
    least = SCALES.least_last if plan.activation == "tanh" else 0
    if largest > 2.0 ** (bits - least):
        raise NotEncryptable(
            f"Logits of this model could reach {largest:,.0f}; the ciphertext has room for ±{2.0 ** (bits - least):,.0f}."
        )
    return 2.0 ** min(SCALES.most_last, floor(bits - log2(largest))) if least and largest else None
