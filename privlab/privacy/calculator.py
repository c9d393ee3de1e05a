"""The calculator: any one of six numbers from the other five, without a run."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

from privlab.privacy.accounting import (
    LEAST_DELTA,
    LEAST_NOISE,
    MOST_NOISE,
    ONE,
    Accountant,
    delta_of,
    epsilon_of,
    upper_epsilon_of,
)
from privlab.privacy.calibration import OutOfReach, excess, mean_shift, scale_for
from privlab.privacy.pair import Adjacency
from privlab.privacy.phases import Phase, Phases
from privlab.privacy.planning import steps_for
from privlab.privacy.roots import crossing

Unknown = Literal["epsilon", "noise_multiplier", "batch_size", "epochs", "records", "delta"]

#: Largest whole numbers that are tried.
MOST_RECORDS, MOST_EPOCHS = 10**9, 100_000


def solve(
    unknown: Unknown,
    *,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    records: int | None = None,
    delta: float | None = None,
    adjacency: Adjacency = ONE,
    accountant: Accountant = "pld",
) -> float | int:
    """The ``unknown`` number of a training with T = E·N/B steps; the value given for it is ignored.

    ``epsilon`` and ``delta`` are what is spent. Otherwise ``epsilon`` is a limit: the answer is the smallest
    ``noise_multiplier`` or ``records``, or the largest ``batch_size`` or ``epochs``, that keeps to it, found on the grid of
    :func:`privlab.privacy.accounting.upper_epsilon_of`: it always keeps to the limit, and whole numbers are the smallest or
    largest to one part in 10,000, or to one. (ε grows with B and falls with N but for the rounding of T.)

    Raises:
        OutOfReach: no value keeps to the limit, or (for the noise multiplier) the least noise does already.
        ValueError: a number missing or out of range, naming the bound.
    """
    if unknown not in get_args(Unknown):
        raise ValueError(f"unknown={unknown!r} is none of {', '.join(get_args(Unknown))}.")
    given = {
        "epsilon": epsilon,
        "noise_multiplier": noise_multiplier,
        "batch_size": batch_size,
        "epochs": epochs,
        "records": records,
        "delta": delta,
    }
    del given[unknown]
    _check(given)
    return _solve(unknown, tuple(given.items()), adjacency, accountant)


@lru_cache(maxsize=1024)
def _solve(
    unknown: Unknown, given: tuple[tuple[str, float], ...], adjacency: Adjacency, accountant: Accountant
) -> float | int:
    known = dict(given)
    how = {"accountant": accountant, "adjacency": adjacency}

    def phases(**instead: float) -> Phases:
        now = {**known, **instead}
        steps = steps_for(now["epochs"], now["records"], now["batch_size"])
        return (Phase(now["batch_size"] / now["records"], now["noise_multiplier"], steps),)

    if unknown == "epsilon":
        return epsilon_of(phases(), known["delta"], **how)
    if unknown == "delta":
        return delta_of(phases(), known["epsilon"], **how)
    if unknown == "noise_multiplier":
        return scale_for(known["epsilon"], phases(noise_multiplier=1.0), known["delta"], **how)

    def spent(value: int) -> float:
        return epsilon_of(phases(**{unknown: value}), known["delta"], **how)

    def roughly(value: int, preview: bool = False) -> float:
        if accountant != "pld":
            return spent(value)
        return upper_epsilon_of(phases(**{unknown: value}), known["delta"], adjacency=adjacency, preview=preview)

    limit = known["epsilon"]
    safe, unsafe = _range(unknown, known)
    # ε falls along this axis.
    away = 1 if unsafe > safe else -1

    def whole(x: float) -> int:
        return min(max(round(math.exp(-away * x)), min(safe, unsafe)), max(safe, unsafe))

    near = whole(
        crossing(
            lambda x: excess(roughly(whole(x), True), limit),
            lambda x: excess(roughly(whole(x)), limit),
            -away * _guess(unknown, known),
            *sorted((-away * math.log(safe), -away * math.log(unsafe))),
        )
    )
    while near != safe and roughly(near) > limit:
        near -= away
    while near != unsafe and roughly(near + away) <= limit:
        near += away
    if near == safe and (least := spent(safe)) > limit:
        raise OutOfReach(
            f"epsilon={limit:g} cannot be met: even {unknown}={safe:,} spends ε={least:.4g}.", least, math.inf
        )
    return near


def _range(unknown: Unknown, known: dict[str, float]) -> tuple[int, int]:
    """The number that spends least and the one that spends most."""
    if unknown == "epochs":
        return 1, MOST_EPOCHS
    if unknown == "batch_size":
        return 1, int(known["records"])
    # δ must stay below 1/N.
    least, most = int(known["batch_size"]), min(MOST_RECORDS, math.ceil(1 / known["delta"]) - 1)
    if most < least:
        raise ValueError(
            f"batch_size={least:,} is more than the records that delta={known['delta']:g} allows ({most:,})."
        )
    return most, least


def _guess(unknown: Unknown, known: dict[str, float]) -> float:
    """log of a value near the answer, from the central limit: μ² = E·B/N·(e^(1/σ²) − 1)."""
    sigma = max(known["noise_multiplier"], LEAST_NOISE)
    squares = mean_shift(known["epsilon"], known["delta"]) ** 2 / math.expm1(sigma**-2)
    if unknown == "records":
        return math.log(known["epochs"] * known["batch_size"] / squares)
    return math.log(squares * known["records"] / (known["epochs"] if unknown == "batch_size" else known["batch_size"]))


def _check(given: dict[str, float | None]) -> None:
    for name, value in given.items():
        if value is None or math.isnan(value):
            raise ValueError(f"{name} is missing.")
        if name in ("batch_size", "epochs", "records") and (value < 1 or value != int(value)):
            raise ValueError(f"{name}={value:g} must be a whole number and at least 1.")
    for name, most in (("records", MOST_RECORDS), ("epochs", MOST_EPOCHS)):
        if given.get(name, 0) > most:
            raise ValueError(f"{name}={given[name]:,} must be at most {most:,}.")
    if given.get("epsilon", 1.0) < 0:
        raise ValueError(f"epsilon={given['epsilon']:g} must be at least 0.")
    batch, records, delta = given.get("batch_size"), given.get("records"), given.get("delta")
    if batch and records and batch > records:
        raise ValueError(f"batch_size={batch:,} is more than the records={records:,}.")
    if delta is not None and not LEAST_DELTA <= delta < 1:
        raise ValueError(f"delta={delta:g} must be at least {LEAST_DELTA:g} and below 1.")
    if delta and records and delta >= 1 / records:
        raise ValueError(f"delta={delta:g} must be below 1 / records = {1 / records:.3g}.")
    sigma = given.get("noise_multiplier")
    if sigma is not None and not 0 <= sigma <= MOST_NOISE:
        raise ValueError(f"noise_multiplier={sigma:g} must lie between 0 and {MOST_NOISE:g}.")
