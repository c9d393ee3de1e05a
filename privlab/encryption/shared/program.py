"""One step of DP-SGD as the three parties compute it on shares: forward, clip each record, add noise, update.

The same function runs in the clear (NumPy-like, under JAX) and, compiled once, on shares. Loads JAX only when called.
Inside, one record is one row; the norm of its gradient follows from norms of what goes into and comes back out of each layer
(Goodfellow 2015, "Efficient per-example gradient computations"): ‖gradient‖² = Σ ‖a‖²·‖e‖². With two classes the owner alone can say
how large its record's error may be, so that clipping is a limit on one number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privlab.encryption.shared.bounds import EXP_SCALE, FACTOR_CORRECTION, LOGIT_LIMIT, RAMP, TRUNC, Scales
from privlab.encryption.shared.guesses import SHIFT, UNIT, Guess, guess
from privlab.encryption.shared.settings import PARTIES


@dataclass(frozen=True)
class Shape:
    """All that the compiled step depends on; the same for every party.

    Attributes:
        layers: shape of each layer, biases in the last row.
        slots: rows of each party's padded block.
        scales: units of what is shared.
        rate: learning rate over ``scales.sum`` times the expected batch size, as the ring holds it (:func:`on_grid`). Two
            classes have it in their scales.
        momentum: as the ring holds it.
        clip: C.
        longest: largest ‖gradient‖² / C² that must be handled.
    """

    layers: tuple[tuple[int, int], ...]
    slots: int
    scales: Scales
    rate: float
    momentum: float
    clip: float
    longest: float

    @property
    def inputs(self) -> int:
        return self.layers[0][0] - 1

    @property
    def classes(self) -> int:
        return self.layers[-1][1]

    @property
    def dimension(self) -> int:
        return sum(rows * columns for rows, columns in self.layers)

    @property
    def binary(self) -> bool:
        """Whether one output tells two classes apart."""
        return self.classes == 1

    @property
    def ramp(self) -> float:
        """Where the line for the sigmoid ends, in the parties' unit of a·w, as the ring holds it."""
        return on_grid(RAMP * self.scales.record * self.scales.parameter)

    @property
    def columns(self) -> int:
        """Columns of a block: the record, its mask, its squared norm, its label as one hot; for two classes the record and its
        mask, both negated where the label is 1, and its largest error."""
        if self.binary:
            return self.inputs + 2
        return self.inputs + 2 + self.classes

    def examples(self, steps: int) -> list[np.ndarray]:
        """Arguments of ``steps`` steps in order, as zeros: parameters, velocity, blocks and noise of each party."""
        blocks = [np.zeros((steps, self.slots, self.columns))] * PARTIES
        noise = [np.zeros((steps, self.dimension))] * PARTIES
        return [np.zeros(self.dimension), np.zeros(self.dimension), *blocks, *noise]


def on_grid(value: float) -> float:
    """``value`` as a whole multiple of 2⁻¹⁸."""
    return float(np.rint(value / UNIT) * UNIT)


def steps_of(shape: Shape) -> Callable[..., tuple[Any, Any]]:
    """Several steps in a row, because SPU reads a program anew at each run: (parameters (d,), velocity (d,), blocks
    (steps, slots, columns) × 3, noise (steps, d) × 3) → (parameters, velocity)."""
    import jax

    step = _step_of(shape)

    def steps(parameters: Any, velocity: Any, *given: Any) -> tuple[Any, Any]:
        def one(state: tuple[Any, Any], now: tuple[Any, ...]) -> tuple[tuple[Any, Any], None]:
            return step(*state, *now), None

        return jax.lax.scan(one, (parameters, velocity), given)[0]

    return steps


def _step_of(shape: Shape) -> Callable[..., tuple[Any, Any]]:
    """One step: (parameters, velocity, block × 3, noise × 3) → (parameters, velocity)."""
    import jax.numpy as jnp

    if shape.binary:
        return _two_classes(shape)
    clipped_sum = _clipped_sum(shape)

    def step(parameters: Any, velocity: Any, *given: Any) -> tuple[Any, Any]:
        rows, noise = jnp.concatenate(given[:PARTIES]), sum(given[PARTIES:])
        gradient = clipped_sum(rows, parameters)
        # Together, because what counts is how often the parties talk.
        factors = jnp.array([[shape.momentum], [on_grid(shape.rate * shape.momentum)], [shape.rate]])
        kept, moved, new = jnp.stack([velocity, velocity, gradient + noise]) * factors
        return parameters - (moved + new), kept + (gradient + noise)

    return step


def _two_classes(shape: Shape) -> Callable[..., tuple[Any, Any]]:
    """The same for two classes. The error of a record is σ(z), z = a·w, and σ the line ½ + z/(2·RAMP). The line's range and clipping together
    are 0 ≤ z + RAMP ≤ the owner's last column: one comparison, and exact, whatever z is. In the units of ``scales`` nothing is left
    to multiply; momentum joins the product of matrices, because what counts is how often the parties talk."""
    import jax.numpy as jnp

    def step(parameters: Any, velocity: Any, *given: Any) -> tuple[Any, Any]:
        rows, noise = jnp.concatenate(given[:PARTIES]), sum(given[PARTIES:])
        records, largest = rows[:, : shape.inputs + 1], rows[:, shape.inputs + 1]
        error = (records @ parameters[:, None])[:, 0] + shape.ramp
        over = jnp.stack([error, error - largest])
        over = jnp.where(over > 0, over, 0.0)
        # Made of a shared number, for sharing a public one would be a message.
        kept = error[:1] - error[:1] + shape.momentum
        factors = jnp.concatenate([over[0] - over[1], kept])
        velocity = (jnp.concatenate([records.T, velocity[:, None]], 1) @ factors[:, None])[:, 0] + noise
        return parameters - velocity, velocity

    return step


def _clipped_sum(shape: Shape) -> Callable[[Any, Any], Any]:
    """(rows, parameters) → twice the sum of the clipped gradients, (d,)."""
    import jax.numpy as jnp

    softmax, clipping = _softmax(shape.classes), _clipping(shape)

    def clipped_sum(rows: Any, parameters: Any) -> Any:
        width = shape.inputs + 1
        x, squared, labels = rows[:, :width], rows[:, width], rows[:, width + 1 :]
        weights = _split(parameters, shape.layers)
        if len(weights) == 1:
            errors = softmax(x @ weights[0]) - labels
            factor = clipping([squared], [_squares(jnp.square(errors), shape.classes)])
            total = x.T @ (errors * factor[:, None])
            return total.reshape(-1)
        before = x @ weights[0]
        awake = before > 0
        hidden = jnp.where(awake, before, 0.0)
        inside = jnp.concatenate([hidden, x[:, -1:]], 1)
        last = softmax(inside @ weights[1]) - labels
        first = jnp.where(awake, last @ weights[1][:-1].T, 0.0)
        units, both = shape.layers[0][1], jnp.concatenate([first, last], 1)
        square = jnp.square(jnp.concatenate([hidden, both], 1))
        lengths = [square[:, :units], square[:, units : 2 * units], square[:, 2 * units :]]
        kept, one, two = (_squares(part, part.shape[1]) for part in lengths)
        factor = clipping([squared, kept + 1.0], [one, two])
        both = both * factor[:, None]
        return jnp.concatenate([(x.T @ both[:, :units]).reshape(-1), (inside.T @ both[:, units:]).reshape(-1)])

    return clipped_sum


def _split(parameters: Any, layers: Sequence[tuple[int, int]]) -> list[Any]:
    parts, at = [], 0
    for rows, columns in layers:
        parts.append(parameters[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
    return parts


def _squares(squared: Any, width: int) -> Any:
    """Sum over a row's squares, never below the true sum: each may have been truncated by τ."""
    return squared.sum(1) + width * TRUNC


def _line(x: Any, passed: Any, lines: Guess) -> Any:
    """First guess of a function of x (rows,) from straight lines; ``passed`` (rows, thresholds) says which one."""
    import jax.numpy as jnp

    powers, columns = ([x, x * 2.0**-SHIFT], 3) if lines.shifted else ([x], 2)
    chosen = passed.astype(jnp.float64) @ lines.steps[:, :columns] + lines.first[:columns]
    return chosen[:, 0] + (chosen[:, 1:] * jnp.stack(powers, 1)).sum(1)


def _softmax(classes: int) -> Callable[[Any], Any]:
    """Softmax of logits less their mean, held within ±10, so that the largest is never below 0. e^z = (e^{z/32})^32 with 1 + t + t²/2 = ((1 + t)² + 1)/2 inside; one Newton step for
    the sum's reciprocal."""
    import jax.numpy as jnp

    half = EXP_SCALE ** (1 / 32) / 2
    start = float(np.sqrt(half))
    edge = LOGIT_LIMIT
    lines = guess("reciprocal", EXP_SCALE * 0.8, classes * np.exp(edge) * EXP_SCALE)

    def softmax(logits: Any) -> Any:
        logits = logits - logits.mean(1, keepdims=True)
        over = jnp.stack([logits - edge, -edge - logits])
        over = jnp.where(over > 0, over, 0.0)
        root = jnp.square((logits - over[0] + over[1]) * (start / 32) + start) + half
        for _ in range(5):
            root = jnp.square(root)
        total = root.sum(1)
        y = _line(total, total[:, None] > lines.thresholds[None, :], lines)
        inverse = y * (2.0 - total * y)
        return root * inverse[:, None]

    return softmax


def _clipping(shape: Shape) -> Callable[[list[Any], list[Any]], Any]:
    """Factor 2·min(1, C/‖gradient‖) of each row, never above it and at most some 0.1 % below (6 % beyond 128·C).

    Doubled, because halving a shared number takes the parties two more messages; the noise is doubled, the rate halved.
    """
    import jax.numpy as jnp

    lines = guess("rsqrt", 1.0, shape.longest, flat_first=True)
    # Rounded up, so that the length is never taken for shorter than it is.
    inverse = float(np.ceil(shape.clip**-2 / UNIT) * UNIT)

    def factor(into: list[Any], back: list[Any]) -> Any:
        squared = (jnp.stack(into) * jnp.stack(back)).sum(0) + len(into) * TRUNC
        if inverse != 1.0:
            squared = squared * inverse + TRUNC
        passed = squared[:, None] > lines.thresholds[None, :]
        # The first threshold is 1: a gradient that is short enough keeps its length.
        x = jnp.where(passed[:, 0], squared, 1.0)
        y = _line(x, passed, lines)
        return y * (3.0 - (x * y) * y) - FACTOR_CORRECTION

    return factor
