"""Classification of an encrypted record: one party has the record and the key, the other has the model and reads nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privlab.encryption.ckks import Evaluator, KeyHolder, Parameters, seal, to_bytes
from privlab.encryption.inference.layers import Layer, NotEncryptable, check_layers
from privlab.encryption.inference.plan import MOST_INPUT, Plan
from privlab.encryption.inference.polynomial import fit_tanh


class ClassifierClient:
    """The party that has the record: it makes the keys and keeps the secret one.

    Args:
        plan: of the classifier, :attr:`EncryptedClassifier.plan`.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._keys = KeyHolder(Parameters(*plan.choice), plan.rotations)

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
        return self._keys.encrypt(self.plan.layouts[0].write(values))

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
        self._powers = None
        if activation == "tanh":
            met = None if calibration is None else np.asarray(calibration, dtype=np.float64) @ matrices[0].T + biases[0]
            middle, half, powers = fit_tanh(met, len(biases[0]))
            matrices[0], biases[0] = matrices[0] / half[:, None], (biases[0] - middle) / half
            # The constant term costs nothing in the next layer's bias.
            biases[1] = biases[1] + matrices[1] @ powers[:, 0]
            self._powers = [layouts[0].tiled(column) for column in powers.T]
        _check_room(self.plan, matrices[-1], biases[-1])
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
        values = self._evaluator.read_ciphertext(record)
        values = self._product(0, values)
        if self.plan.activation is not None:
            values = self._square(values) if self._powers is None else self._polynomial(values)
            values = self._product(1, values)
        return to_bytes(values)

    def _product(self, number: int, values: seal.Ciphertext) -> seal.Ciphertext:
        """matrix · values + bias; one level."""
        layout, weights, bias = self._products[number]
        on, level = self._evaluator, self._evaluator.level(values)
        shifted = [on.rotate(values, baby) for baby in range(layout.babies)]
        # Encoded at the prime that rescaling divides by, so that the scale stays what it was.
        unit, total = on.last_prime(level), None
        for giant in range(layout.giants):
            part = None
            for baby, moved in enumerate(shifted):
                if giant * layout.babies + baby < layout.shifts:
                    plain = self._plain(("weights", number, giant, baby), weights[giant, baby], level, unit)
                    part = _plus(on, part, on.times_plain(moved, plain))
            part = on.rescale(part)
            part.scale = values.scale
            total = _plus(on, total, on.rotate(part, giant * layout.babies))
        for fold in layout.folds:
            total = on.add(total, on.rotate(total, fold))
        return on.add_plain(total, self._plain(("bias", number), bias, level - 1, total.scale))

    def _square(self, t: seal.Ciphertext) -> seal.Ciphertext:
        return self._evaluator.settle(self._evaluator.times(t, t))

    def _polynomial(self, t: seal.Ciphertext) -> seal.Ciphertext:
        """c₁t + … + c₇t⁷ in three levels, (c₁t + t²·(c₂ + c₃t)) + t⁴·(c₄ + c₅t + t²·(c₆ + c₇t)): Paterson and Stockmeyer 1973."""
        on, level = self._evaluator, self._evaluator.level(t)
        t2 = self._square(t)
        t4 = self._square(t2)
        # Scales are chosen so that all that is added has exactly one: first what the inner sum will have …
        inner = on.scale
        pair67 = self._pair(t, 6, level, inner * on.last_prime(level - 1) / t2.scale)
        high = on.settle(on.times(t2, pair67))
        high.scale = inner
        high = on.add(high, self._pair(on.lower(t, level - 1), 4, level - 1, inner))
        # … then the outer one, in which both products are still of three parts and settled together.
        outer = t4.scale * inner
        low = self._pair(on.lower(t, level - 1), 2, level - 1, outer / t2.scale)
        product = on.times(on.lower(t2, level - 2), low)
        product.scale = outer
        total = on.settle(on.add(on.times(t4, high), product))
        first = self._term(on.lower(t, level - 2), 1, level - 2, total.scale)
        return on.add(total, first)

    def _pair(self, t: seal.Ciphertext, power: int, level: int, scale: float) -> seal.Ciphertext:
        """c_power + c_(power+1)·t at ``level`` − 1 with ``scale``."""
        odd = self._term(t, power + 1, level, scale)
        return self._evaluator.add_plain(odd, self._plain(("power", power), self._powers[power], level - 1, scale))

    def _term(self, t: seal.Ciphertext, power: int, level: int, scale: float) -> seal.Ciphertext:
        """c_power·t at ``level`` − 1 with ``scale``."""
        on = self._evaluator
        plain = self._plain(("power", power), self._powers[power], level, scale * on.last_prime(level) / t.scale)
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


def _check_room(plan: Plan, matrix: np.ndarray, bias: np.ndarray) -> None:
    """Refuse weights whose logits could pass the room above the scale in the last prime. Hidden values count as ±1."""
    _, primes, scale = plan.choice
    room = 2.0 ** (primes[0] - scale - 2)
    largest = float((np.abs(matrix).sum(axis=1) * MOST_INPUT + np.abs(bias)).max())
    if plan.activation != "square" and largest > room:
        raise NotEncryptable(
            f"Logits of this model could reach {largest:,.0f}; the ciphertext has room for ±{room:,.0f}."
        )
