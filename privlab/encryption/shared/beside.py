"""The plain twin beside the parties, with draws to train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privlab.encryption.shared.accounting import Guarantee
from privlab.encryption.shared.bounds import party_deviation
from privlab.encryption.shared.owner import Owner, in_plain_units, rows_for
from privlab.encryption.shared.program import Shape
from privlab.encryption.shared.settings import SharedSettings
from privlab.encryption.shared.twin import RampTwin, Twin, initial


class Beside:
    """The plain twin with the draws it trains on: the parties' own in a reproducible run, else its own from the same
    distributions, with batches of any size and noise that is not rounded to fewer digits than the parties'."""

    def __init__(self, settings: SharedSettings, owners: Sequence, promise: Guarantee, shape: Shape):
        self.replays = settings.randomness == "reproducible"
        self._shape, first = shape, initial(shape.layers, settings.seed)
        rate = settings.learning_rate / settings.batch_size if shape.binary else shape.scales.sum * shape.rate
        given = shape.layers, first, rate, shape.momentum, shape.clip
        self._twin = Twin(*given)
        self._twins = [self._twin, RampTwin(*given)] if shape.binary else [self._twin]
        self._owners = [
            Owner(
                rows_for(shape, x, y, settings.input_norm),
                rate=promise.sample_rate,
                slots=promise.slots if self.replays else len(y),
                deviation=party_deviation(settings),
                dimension=shape.dimension,
                generator=np.random.default_rng([settings.seed, index]) if self.replays else None,
            )
            for index, (x, y) in enumerate(owners)
        ]

    @property
    def parameters(self) -> np.ndarray:
        return self._twin.parameters

    @property
    def followed(self) -> np.ndarray:
        """Parameters of the twin that computes what the parties compute."""
        return self._twins[-1].parameters

    def run(self, steps: int) -> None:
        for _ in range(steps):
            drawn = [(owner.block(), owner.noise()) for owner in self._owners]
            rows = in_plain_units(self._shape, np.concatenate([block for block, _ in drawn]))
            noise = sum(noise for _, noise in drawn) / self._shape.scales.sum
            for twin in self._twins:
                twin.step(rows, noise)
