"""Secret-shared training: three parties train, ε is counted, and the plain twin runs beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from privlab.encryption.shared import wire
from privlab.encryption.shared.accounting import Guarantee, guarantee
from privlab.encryption.shared.beside import Beside
from privlab.encryption.shared.bounds import scales_of
from privlab.encryption.shared.environment import available
from privlab.encryption.shared.parties import Parties
from privlab.encryption.shared.program import Shape, on_grid
from privlab.encryption.shared.settings import PARTIES, SharedError, SharedSettings
from privlab.encryption.shared.twin import accuracy


@dataclass(frozen=True)
class Record:
    """What is known at one opening of the parameters.

    Attributes:
        step: steps done.
        epsilon: spent against anybody who is not one of the parties; inf for a reproducible run.
        epsilon_party: spent by the other owners' records against one party, who knows its own share of the noise.
        accuracy: of the opened parameters on the test records, 0 … 1.
        twin_accuracy: of plain DP-SGD with the same settings, in double precision, with the exact sigmoid or softmax.
        drift: largest difference between a parameter and the twin's, where both draw the same (reproducible); else None. For
            "binary" the twin is one with the parties' straight line, so that it tells of rounding and of nothing else.
        seconds: a step took, without the twin and the accuracy; with drawing, sharing and opening.
        bytes_sent: by all parties together a step.
        messages: that a party sends on average in a step's computation; sharing and opening are not counted.
        norm: largest Frobenius norm of a layer.
    """

    step: int
    epsilon: float
    epsilon_party: float
    accuracy: float
    twin_accuracy: float
    drift: float | None
    seconds: float
    bytes_sent: int
    messages: float
    norm: float


def train(
    settings: SharedSettings,
    owners: Sequence[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    classes: int,
) -> Iterator[Record]:
    """Train on three owners' records, each in a process of its own, and tell a record at each opening.

    Args:
        owners: (records (n, inputs), labels (n,)) of each of the three.
        test: public records and labels on which opened parameters are measured.
        classes: how many there are; labels are 0 … ``classes`` − 1.

    Raises:
        SharedError: SPU is missing, a setting is out of bounds, or a party failed. Closing the iterator stops the parties.
    """
    owners = [(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)) for x, y in owners]
    _check_records(owners, test, classes)
    inputs = owners[0][0].shape[1]
    promise = guarantee(settings, [len(y) for _, y in owners], inputs, classes)
    shape = shape_of(settings, promise, inputs, classes)
    ready, why = available()
    if not ready:
        raise SharedError(why)
    return _records(settings, owners, test, promise, shape)


def shape_of(settings: SharedSettings, promise: Guarantee, inputs: int, classes: int) -> Shape:
    """The step that the parties compile."""
    scales = scales_of(settings)
    return Shape(
        settings.layers(inputs, classes),
        promise.slots,
        scales,
        on_grid(settings.learning_rate / settings.batch_size / scales.sum),
        on_grid(settings.momentum),
        settings.max_grad_norm,
        promise.bounds.longest,
    )


def _check_records(owners: Sequence[tuple[np.ndarray, np.ndarray]], test: tuple, classes: int) -> None:
    for index, (x, y) in enumerate([*owners, test]):
        who = f"owner {index + 1}" if index < len(owners) else "the test records"
        if x.ndim != 2 or len(x) != len(y) or x.shape[1] != owners[0][0].shape[1]:
            raise SharedError(f"{who}: records of shape {x.shape} with {len(y)} labels do not fit.")
        if not np.isfinite(x).all():
            raise SharedError(f"{who}: a record holds a number that is not finite.")
        if len(y) and not 0 <= y.min() <= y.max() < classes:
            raise SharedError(f"{who}: labels from {y.min()} to {y.max()} must lie between 0 and {classes - 1}.")


def _records(
    settings: SharedSettings,
    owners: Sequence[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    promise: Guarantee,
    shape: Shape,
) -> Iterator[Record]:
    steps = sorted({*range(settings.open_every, settings.steps, settings.open_every), settings.steps})
    spent = dict(zip(steps, zip(promise.epsilon(steps), promise.epsilon_party(steps), strict=True), strict=True))
    twin = Beside(settings, owners, promise, shape)
    with Parties(settings, owners, promise, shape) as parties:
        parties.ready()
        for told in parties.openings():
            parameters = wire.unpack(told[0]["parameters"])
            step, length = told[0]["step"], told[0]["steps"]
            twin.run(length)
            yield Record(
                step=step,
                epsilon=float(spent[step][0]),
                epsilon_party=float(spent[step][1]),
                accuracy=accuracy(parameters, shape.layers, *test),
                twin_accuracy=accuracy(twin.parameters, shape.layers, *test),
                drift=float(np.abs(parameters - twin.followed).max()) if twin.replays else None,
                seconds=max(one["seconds"] for one in told) / length,
                bytes_sent=sum(one["sent"] for one in told) // length,
                messages=sum(one["messages"] for one in told) / PARTIES / length,
                norm=told[0]["norm"],
            )
