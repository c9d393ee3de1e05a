"""Training on ciphertext, step by step, beside its plain twin. Loads SEAL: for a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from privlab.encryption.child import Child, ChildRefused, pack, unpack
from privlab.encryption.ckks import CkksError, KeyHolder, Parameters
from privlab.encryption.envelope import KEY_SIZE, Envelope, EnvelopeError
from privlab.encryption.fully.arithmetic import FullyError, Momentum, accuracy, check_records, gradient_sum
from privlab.encryption.fully.circuit import encrypted, scaled
from privlab.encryption.fully.config import FullyConfig, guarantee_of
from privlab.encryption.fully.guarantee import Guarantee
from privlab.encryption.fully.layout import PARAMETERS
from privlab.encryption.fully.server import PURPOSE, STEPPED, WEIGHTS


@dataclass(frozen=True)
class FullyPoint:
    """What is known after ``step`` steps; step 0 is the start, whose bytes and seconds are those of keys and records.

    Attributes:
        epsilon: spent so far at the run's δ; inf without noise.
        accuracy, twin_accuracy: on the test records, 0…1; the twin's is None where there is none.
        weight_difference: largest difference of a weight from the twin's, or None.
        seconds: wall-clock by phase of this step: ``encrypt`` and ``decrypt`` by the key holder, ``server``, ``transfer``, ``twin``.
        bytes_up, bytes_down: to and from the server in this step.
        levels_left: multiplications that the result would still allow; 3 are used up by a step and the key holder renews them.
        weights: as decrypted, after momentum and projection (inputs,).
    """

    step: int
    epsilon: float
    accuracy: float
    twin_accuracy: float | None
    weight_difference: float | None
    seconds: dict[str, float]
    bytes_up: int
    bytes_down: int
    levels_left: int
    weights: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the weights stay here, and an infinite ε is None."""
        found = {name: value for name, value in vars(self).items() if name != "weights"}
        return {**found, "epsilon": self.epsilon if np.isfinite(self.epsilon) else None}


def train_encrypted(
    config: FullyConfig, x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray
) -> Iterator[FullyPoint]:
    """Train a logistic regression on ciphertext; a generator of one point a step. Closing it ends the server.

    Args:
        x: (records, inputs), ‖x‖ ≤ 1 each, a constant input included if a bias is wanted. y: (records,), −1 or 1.
        test_x, test_y: alike; they count as known.

    Raises:
        FullyError: settings or records that are refused, or a message that was altered.
        ChildError: the server died.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    check_records(x, y)
    guarantee = guarantee_of(config, *x.shape)
    epsilons = guarantee.epsilons(config.steps)
    training = _Training(config, guarantee, x, y)
    try:
        yield training.start(test_x, test_y)
        for step in range(1, config.steps + 1):
            yield training.step(step, float(epsilons[step - 1]))
    except (ChildRefused, CkksError, EnvelopeError) as error:
        raise FullyError(str(error)) from None
    finally:
        training.close()


class _Training:
    """The key holder's side, and the twin."""

    def __init__(self, config: FullyConfig, guarantee: Guarantee, x: np.ndarray, y: np.ndarray):
        self._config, self._guarantee, self._layout = config, guarantee, guarantee.layout
        self._x, self._y, self._v = x, y, x * y[:, None]
        self._own = Momentum(config.momentum, np.zeros(x.shape[1]))
        self._twin = Momentum(config.momentum, np.zeros(x.shape[1])) if config.twin else None
        self._server = Child("privlab.encryption.fully.server", "The server of encrypted training")

    def start(self, test_x: np.ndarray, test_y: np.ndarray) -> FullyPoint:
        self._test = np.asarray(test_x, dtype=np.float64), np.asarray(test_y, dtype=np.float64)
        begin = perf_counter()
        rotations = self._layout.over_inputs + self._layout.over_records
        self._keys = KeyHolder(Parameters(*PARAMETERS), rotations, conjugation=True)
        conversation = os.urandom(KEY_SIZE)
        self._envelope = Envelope(conversation, PURPOSE, sends=WEIGHTS, receives=STEPPED)
        blobs = [self._envelope.seal(key) for key in (*self._keys.evaluation_keys(), self._keys.public_key())]
        if self._config.mode == "c2":
            records = encrypted(self._keys, scaled(self._layout, self._v, self._guarantee.scale))
            blobs += [self._envelope.seal(record) for record in records]
            up = sum(map(len, blobs))
        else:
            # The records are their owner's, that is the server's; they travel only because this process stands in for both.
            up = sum(map(len, blobs))
            blobs += [pack(self._x), pack(self._y)]
        made = perf_counter()
        self._server.call(
            "setup",
            [conversation, *blobs],
            mode=self._config.mode,
            records=self._layout.records,
            inputs=self._layout.inputs,
            scale=self._guarantee.scale,
            noise_multiplier=self._guarantee.noise_multiplier,
            delta=self._guarantee.delta,
        )
        seconds = {
            "encrypt": made - begin,
            "server": perf_counter() - made,
            "transfer": 0.0,
            "decrypt": 0.0,
            "twin": 0.0,
        }
        return self._point(0, 0.0, seconds, up, 0, self._keys.parameters.levels)

    def step(self, step: int, epsilon: float) -> FullyPoint:
        begin = perf_counter()
        sent = self._envelope.seal(self._keys.encrypt(self._layout.spread(self._own.weights)))
        made = perf_counter()
        answer, (received, *told) = self._server.call("step", [sent], tell=self._config.twin)
        back = perf_counter()
        slots = self._keys.decrypt(self._envelope.open(received))
        self._own.take(self._layout.results(slots))
        opened = perf_counter()
        if self._twin is not None:
            noise = unpack(told[0]) if told else 0.0
            before = self._twin.weights
            self._twin.take(before + self._guarantee.scale * gradient_sum(self._v, before) + noise)
        seconds = {
            "encrypt": made - begin,
            "server": answer["seconds"],
            "transfer": back - made - answer["seconds"],
            "decrypt": opened - back,
            "twin": perf_counter() - opened,
        }
        return self._point(step, epsilon, seconds, len(sent), len(received), answer["level"])

    def _point(
        self, step: int, epsilon: float, seconds: dict[str, float], up: int, down: int, levels: int
    ) -> FullyPoint:
        own, twin = self._own.weights, self._twin
        return FullyPoint(
            step=step,
            epsilon=epsilon,
            accuracy=accuracy(own, *self._test),
            twin_accuracy=None if twin is None else accuracy(twin.weights, *self._test),
            weight_difference=None if twin is None else float(np.abs(own - twin.weights).max()),
            seconds=seconds,
            bytes_up=up,
            bytes_down=down,
            levels_left=levels,
            weights=own,
        )

    def close(self) -> None:
        self._server.close()
