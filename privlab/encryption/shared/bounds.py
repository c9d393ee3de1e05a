"""How long a record's gradient can be although every number is rounded, and how large a number can become.

Shared numbers are whole multiples of u = 2⁻¹⁸ in a ring of 64 bits. A product is truncated back to 18 digits with an error
below τ = 2u in either direction (Dalskov, Escudero, Keller 2020, "Secure evaluation of quantized neural networks",
section 3.2.2, which SPU's ABY3 uses; it needs products below 2⁶² units, that is 2²⁶). Comparisons and choices are exact.
``docs/encryption.md`` derives what is used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privlab.encryption.shared.guesses import UNIT
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedSettings

#: τ: most that one truncation is off.
TRUNC = 2 * UNIT
#: "binary" takes the sigmoid as the straight line ½ + z/(2·RAMP), held within 0 … 1. At 3 its accuracy was within 0.3 points of the sigmoid's on
#: every set of two classes tried, at 2 up to 0.4 below, with ABY3's own line, which is steeper (½), up to 2.4 below.
RAMP = 3.0
#: Taken off the (doubled) factor of clipping, so that its rounding (below 3.4 τ) never makes it too large.
FACTOR_CORRECTION = 4 * TRUNC
#: Logits less their mean are held within ± this, so that their exponentials and sums stay in range. At ± 6 an MLP loses five
#: points of accuracy, at ± 10 none.
LOGIT_LIMIT = 10.0
#: Exponentials are made smaller by this factor before they are added up.
EXP_SCALE = 1 / 128
#: ‖p − y‖² of one record, at most: ‖p‖₁ ≤ 1.04 with all rounding, ‖y‖ = 1.
ERROR_SQUARED = 2.1
#: Least β at which "binary" trains: 512 units to a record's number of 1.
_LEAST_RECORD = 2.0**-9
#: Largest number that a product may reach before truncation, with a factor of two to spare.
_LARGEST = 2.0**25
#: Deviations of the whole noise vector's length that are allowed for; beyond with a chance below 1e-31.
_NOISE_TAIL = 12.0


@dataclass(frozen=True)
class Bounds:
    """What rounding and the limit on the parameters imply.

    Attributes:
        dimension: d, trained parameters.
        margin: how much longer than C a record's part of the sum can be, as a share of C.
        longest: largest ‖gradient‖² of a record over C²; the clipping's first guess covers 1 … ``longest``. "binary" has no such guess: 1.
        inside: largest Frobenius norm of a layer between two openings.
    """

    dimension: int
    margin: float
    longest: float
    inside: float


@dataclass(frozen=True)
class Scales:
    """In which units the parties compute, so that they need fewer products: each costs messages.

    Attributes:
        record: shared records are this many times as long.
        parameter: shared parameters are this many times as large.
        sum: what is added up is this many times the sum of the clipped gradients, and so is the noise.
    """

    record: float
    parameter: float
    sum: float


def scales_of(settings: SharedSettings) -> Scales:
    """Two, because halving a shared factor would cost two messages, and true parameters. For "binary": parameters in units in which
    a step takes off the momentum itself, without a product by the learning rate η. Records are β times as long, β² = η / (2·RAMP·B),
    parameters κ times as large; the sum is then 2·RAMP·β²·κ = κη/B times the clipped gradients', for any κ: a power of two
    with which that is about 2.

    Raises:
        SharedError: η/B is so small that records of β times their length would be rounded too coarsely.
    """
    if settings.model != "binary":
        return Scales(1.0, 1.0, 2.0)
    rate = settings.learning_rate / settings.batch_size
    record, parameter = math.sqrt(rate / (2 * RAMP)), 2.0 ** round(math.log2(2 / rate))
    if record < _LEAST_RECORD:
        raise SharedError(
            f"learning_rate={settings.learning_rate:g} over batch_size={settings.batch_size:,} is {rate:.3g}; below "
            f"{_LEAST_RECORD**2 * 2 * RAMP:.3g} records are rounded too coarsely: raise the rate or lower the batch size."
        )
    return Scales(record, parameter, rate * parameter)


def bounds_of(settings: SharedSettings, inputs: int, classes: int, slots: int) -> Bounds:
    """Bounds for records of ``inputs`` numbers and ``slots`` places in a step's padded batch, all parties together.

    Raises:
        SharedError: numbers could leave the ring's safe range; the settings to change are named with values.
    """
    layers = settings.layers(inputs, classes)
    dimension = sum(rows * columns for rows, columns in layers)
    clip, sigma = settings.max_grad_norm, settings.noise_multiplier
    scales = scales_of(settings)
    scale = scales.sum
    longest_step = slots * clip * 1.1 + sigma * clip * (math.sqrt(dimension) + _NOISE_TAIL)
    growth = settings.learning_rate / settings.batch_size * longest_step / (1 - settings.momentum) * settings.open_every
    inside = settings.weight_limit + growth

    given = math.sqrt(settings.input_norm**2 + 1)
    velocity = scale * longest_step / (1 - settings.momentum)
    most = max(velocity, inside * given * scales.record * scales.parameter)
    if most >= _LARGEST:
        raise SharedError(
            f"numbers could reach {most:,.0f}, beyond the {_LARGEST:,.0f} that a 64-bit ring holds safely: "
            f"lower momentum={settings.momentum:g}, max_grad_norm={clip:g}, noise_multiplier={sigma:g}, weight_limit="
            f"{settings.weight_limit:g} or learning_rate={settings.learning_rate:g}."
        )
    if settings.model == "binary":
        # A record's error is held between two numbers on the grid before it meets the record, so only the sum is rounded.
        return Bounds(dimension, 2 * TRUNC * math.sqrt(dimension) / (scale * clip), 1.0, inside)
    kept = [given]
    squared = given**2 * ERROR_SQUARED
    if settings.model == "mlp":
        hidden = inside * given + TRUNC * math.sqrt(settings.hidden)
        kept.append(math.hypot(hidden, 1))
        squared = kept[1] ** 2 * ERROR_SQUARED + given**2 * (inside**2 * ERROR_SQUARED + 1)
    longest = max(1.0, squared * 1.01 / clip**2)
    if max(squared, longest) >= _LARGEST:
        raise SharedError(
            f"a record's squared gradient could reach {squared:,.0f} (over C²: {longest:,.0f}), beyond the {_LARGEST:,.0f} "
            f"that a 64-bit ring holds safely: lower weight_limit={settings.weight_limit:g}, learning_rate="
            f"{settings.learning_rate:g}, open_every={settings.open_every} or input_norm={settings.input_norm:g}, or raise "
            f"max_grad_norm={clip:g}."
        )
    rounding = TRUNC * sum(length * math.sqrt(columns) for length, (_, columns) in zip(kept, layers, strict=True))
    padding = scale * 2 * TRUNC * math.sqrt(settings.hidden) if settings.model == "mlp" else 0.0
    total = rounding + padding + 2 * TRUNC * math.sqrt(dimension)
    return Bounds(dimension, total / (scale * clip), longest, inside)


def party_deviation(settings: SharedSettings) -> float:
    """Standard deviation of the noise that one party adds to each number of the sum: σ·C/√3 in the sum's unit."""
    return scales_of(settings).sum * settings.noise_multiplier * settings.max_grad_norm / math.sqrt(PARTIES)
