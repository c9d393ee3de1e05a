"""Every choice of a secret-shared training, and what is refused by value and bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

#: Parties of ABY3: three, of which no two may work together.
PARTIES = 3
MODELS = ("binary", "logistic", "mlp")

Model = Literal["binary", "logistic", "mlp"]


class SharedError(Exception):
    """Secret-shared training cannot start or go on. The message says why, in plain words."""


class SharedFailed(SharedError):
    """A party died, failed or fell silent: nothing was refused."""


@dataclass(frozen=True)
class SharedSettings:
    """What three parties train, and how.

    Attributes:
        model: "binary" (logistic regression of two classes, one output), "logistic" (softmax regression of any number of
            classes) or "mlp" (one hidden layer with ReLU).
        batch_size: B, records of a step on average over all parties; each joins by its own coin flip with q = B / N.
        steps: T.
        learning_rate, momentum: of SGD, which is post-processing of the noisy sum.
        max_grad_norm: C, longest gradient of one record.
        noise_multiplier: σ, standard deviation of the noise of all three parties together over C.
        delta: δ of the claim.
        open_every: steps between two openings of the parameters; in between nobody knows them.
        input_norm: R, longest record; an owner scales a longer one down to it.
        weight_limit: largest Frobenius norm of a layer at which training goes on; above, numbers inside could overflow.
        hidden: units of the hidden layer of "mlp".
        seed: of the initial parameters.
        randomness: "private" draws coins and noise from the operating system; "reproducible" from ``seed``, for tests: the
            draws can be guessed, so there is no guarantee and ε is reported as infinite.
    """

    model: Model = "logistic"
    batch_size: int = 128
    steps: int = 200
    learning_rate: float = 0.25
    momentum: float = 0.9
    max_grad_norm: float = 1.0
    noise_multiplier: float = 2.0
    delta: float = 1e-5
    open_every: int = 10
    input_norm: float = 8.0
    weight_limit: float = 48.0
    hidden: int = 32
    seed: int = 0
    randomness: Literal["private", "reproducible"] = "private"

    def __post_init__(self) -> None:
        bounds = {
            "batch_size": (1, 4096),
            "steps": (1, 1_000_000),
            "learning_rate": (1e-3, 100),
            "momentum": (0, 0.99),
            "max_grad_norm": (0.05, 100),
            "noise_multiplier": (0.05, 1000),
            "delta": (1e-10, 0.1),
            "open_every": (1, 1000),
            "input_norm": (0.1, 100),
            "weight_limit": (1, 1000),
            "hidden": (1, 1024),
            "seed": (0, 2**31 - 1),
        }
        if self.model not in MODELS:
            raise SharedError(f"model={self.model!r} is unknown; secret-shared training knows {', '.join(MODELS)}.")
        if self.randomness not in ("private", "reproducible"):
            raise SharedError(f"randomness={self.randomness!r} must be private or reproducible.")
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SharedError(f"{name}={value:g} must lie between {least:g} and {most:,g}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> SharedSettings:
        """Raises SharedError for an unknown name, or a value out of its bounds."""
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise SharedError(f"unknown settings: {', '.join(sorted(unknown))}.")
        return cls(**given)

    def sample_rate(self, records: Sequence[int]) -> float:
        """q = B / N for owners with ``records`` each. Raises SharedError where B > N or an owner has none."""
        total = sum(records)
        if len(records) != PARTIES or min(records) < 1:
            raise SharedError(
                f"{len(records)} owners with {list(records)} records: there must be {PARTIES}, none empty."
            )
        if self.batch_size > total:
            raise SharedError(f"batch_size={self.batch_size:,} is more than the {total:,} records of all owners.")
        return self.batch_size / total

    def layers(self, inputs: int, classes: int) -> tuple[tuple[int, int], ...]:
        """Shape (inputs + 1, outputs) of each layer; the last row is the bias.

        Raises:
            SharedError: "binary" with other than two classes.
        """
        if self.model == "binary":
            if classes != 2:
                raise SharedError(
                    f"classes={classes}: model='binary' tells two classes apart; take 'logistic' for more."
                )
            return ((inputs + 1, 1),)
        if self.model == "logistic":
            return ((inputs + 1, classes),)
        return ((inputs + 1, self.hidden), (self.hidden + 1, classes))
