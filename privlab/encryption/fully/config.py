"""What a person chooses for an encrypted training, and what it will guarantee. Loads no SEAL, so that a form may use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from privlab.encryption.fully.arithmetic import FullyError
from privlab.encryption.fully.guarantee import Guarantee
from privlab.encryption.fully.layout import Layout

Mode = Literal["c1", "c2"]
MOST_STEPS = 10_000


@dataclass(frozen=True)
class FullyConfig:
    """What a person chooses.

    Attributes:
        mode: "c2": records and weights encrypted, the records' owner has the key and the server draws the noise; "c1": weights
            encrypted for the model's owner, who has the key, while the records' owner computes on them in plain and draws the noise.
        steps: full-batch steps.
        noise_multiplier: σ, standard deviation of the noise over the sensitivity. 0 only in C2, and then without a guarantee.
        learning_rate: of the mean gradient.
        momentum: β in [0, 1), taken by the key holder after decryption.
        delta: δ of the guarantee.
        twin: compute the same training in plain beside it. The noise is then told to this process, which measures; a real
            deployment leaves this off, for whoever knows the noise is not held by the guarantee.

    Raises:
        FullyError: naming value and bound.
    """

    mode: Mode = "c2"
    steps: int = 30
    noise_multiplier: float = 10.0
    learning_rate: float = 4.0
    momentum: float = 0.7
    delta: float = 1e-5
    twin: bool = True

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise FullyError(f"mode={self.mode!r} is unknown; choose one of {', '.join(get_args(Mode))}.")
        if not 1 <= self.steps <= MOST_STEPS:
            raise FullyError(f"steps={self.steps} must lie between 1 and {MOST_STEPS:,}.")
        if not 0 < self.learning_rate <= 100:
            raise FullyError(f"learning_rate={self.learning_rate:g} must lie above 0 and at most at 100.")
        if not 0 <= self.momentum < 1:
            raise FullyError(f"momentum={self.momentum:g} must be at least 0 and below 1.")
        if self.mode == "c1" and not self.noise_multiplier:
            raise FullyError(
                "noise_multiplier=0 in mode c1 would show the model's owner exact sums of the records; take at least 0.05."
            )

    @property
    def holds_against(self) -> str:
        """Whom the ε binds, in one sentence for people."""
        if not self.noise_multiplier:
            return "There is no noise, so there is no guarantee: only encryption protects the records, and only until the weights are given away."
        who = _HOLDS_AGAINST[self.mode]
        return (
            f"{who} The plain twin is told the noise, to measure: a real deployment leaves it off."
            if self.twin
            else who
        )


_HOLDS_AGAINST = {
    "c2": "ε holds against whoever is given the weights, but not against the server, which drew the noise and knows it.",
    "c1": "ε holds against the model's owner, who sees the weights after every step, as long as it follows the protocol.",
}


def guarantee_of(config: FullyConfig, records: int, inputs: int) -> Guarantee:
    """The noise and ε of a training before it starts. Raises FullyError for what cannot be trained, with value and bound."""
    if not 0 < config.delta < 1 / records:
        raise FullyError(f"delta={config.delta:g} must lie above 0 and below 1 over the {records} records.")
    return Guarantee(config.noise_multiplier, config.delta, config.learning_rate / records, Layout(records, inputs))
