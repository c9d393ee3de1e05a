"""The groups of settings, each setting declared once: bounds, unit, default and help."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from privlab.config.knobs import knob


class Section(BaseModel):
    """Base of every group of settings: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _refuse(path: str, message: str) -> PydanticCustomError:
    # Braces would be read as a format string by pydantic.
    return PydanticCustomError("privlab", "{message}", {"path": path, "message": message})


class DataConfig(Section):
    """Which records are trained on."""

    dataset: str = knob(
        "digits",
        label="Data set",
        help="The records to learn from; each record is what the privacy guarantee protects.",
    )


class ModelConfig(Section):
    """Which network is trained."""

    name: str = knob(
        "mlp",
        label="Model",
        help="The network to train. All of them avoid BatchNorm, which would mix records and void the guarantee.",
    )


class PrivacyConfig(Section):
    """Clipping, noise and how the cost is counted (Abadi et al. 2016, algorithm 1)."""

    clipping: Literal["flat", "none"] = knob(
        "flat",
        label="Clipping",
        help="Whether each record's gradient is shortened to at most C before summing. Without it no noise is enough.",
        labels={"flat": "per record (flat)", "none": "none"},
    )
    max_grad_norm: float = knob(
        1.0,
        gt=0,
        le=1000,
        label="Clipping bound",
        symbol="C",
        unit="L2 norm",
        step=0.1,
        format="%.4g",
        help="The longest gradient that one record may contribute; longer ones are shortened to this length.",
    )
    noise_multiplier: float | None = knob(
        None,
        ge=0,
        le=1000,
        label="Noise multiplier",
        symbol="σ",
        unit="× C",
        step=0.1,
        format="%.4g",
        help="Standard deviation of the Gaussian noise added to the summed gradients, in multiples of C.",
    )
    target_epsilon: float | None = knob(
        None,
        gt=0,
        le=1000,
        label="Target epsilon",
        symbol="ε",
        unit="for the whole run",
        step=0.5,
        format="%.4g",
        help="The privacy budget for the whole run; PrivLab finds the smallest noise that keeps to it.",
    )
    delta: float = knob(
        1e-5,
        gt=0,
        lt=1,
        label="Delta",
        symbol="δ",
        unit="probability",
        format="%.1e",
        help="The small chance that the ε bound does not hold; it must stay below 1 / number of records.",
    )
    randomness: Literal["private", "reproducible"] = knob(
        "private",
        label="Seed policy",
        help="Private draws noise and batches from the operating system's entropy. "
        "Reproducible derives them from a known seed, which voids the privacy guarantee.",
        labels={"private": "private (fresh entropy)", "reproducible": "reproducible, not private"},
        expert=True,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        sigma, target = self.noise_multiplier, self.target_epsilon
        if sigma is not None and target is not None:
            raise _refuse(
                "privacy.noise_multiplier",
                f"noise_multiplier={sigma:g} and target_epsilon={target:g} are both set; give one of them.",
            )
        if sigma is None and target is None:
            raise _refuse(
                "privacy.noise_multiplier",
                "neither noise_multiplier nor target_epsilon is set; give one (noise_multiplier=0 trains without noise).",
            )
        if self.clipping == "none" and (target is not None or sigma):
            given = f"target_epsilon={target:g}" if target is not None else f"noise_multiplier={sigma:g}"
            raise _refuse(
                "privacy.clipping",
                f"clipping=none with {given}: without a bound on each record no noise gives a guarantee; "
                "choose flat clipping, or noise_multiplier=0.",
            )
        return self

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed at all (noise is added to clipped gradients)."""
        return self.target_epsilon is not None or bool(self.noise_multiplier)


class TrainingConfig(Section):
    """The optimisation, the same with and without privacy."""

    batch_size: int = knob(
        256,
        ge=1,
        le=1_000_000,
        label="Expected batch size",
        symbol="B",
        unit="records",
        step=32,
        help="Records drawn per step on average. Each record joins a batch by its own coin flip with q = B / N.",
    )
    epochs: int = knob(
        10,
        ge=1,
        le=10_000,
        label="Epochs",
        symbol="E",
        unit="expected passes over the data",
        step=1,
        help="How many times each record is used on average. More passes cost more privacy.",
    )
    optimizer: Literal["sgd", "adam"] = knob(
        "sgd",
        label="Optimiser",
        help="How the noisy gradient moves the parameters; this is post-processing and costs no privacy.",
        labels={"sgd": "SGD with momentum", "adam": "Adam"},
    )
    learning_rate: float = knob(
        0.5,
        gt=0,
        le=1000,
        label="Learning rate",
        symbol="η",
        unit="per step",
        step=0.05,
        format="%.4g",
        help="How far the parameters move along the noisy average gradient at each step.",
    )
    momentum: float = knob(
        0.9,
        ge=0,
        lt=1,
        label="Momentum",
        symbol="μ",
        step=0.05,
        format="%.3g",
        expert=True,
        help="Share of the previous update that SGD keeps; Adam ignores it.",
    )
    ema_decay: float = knob(
        0.0,
        ge=0,
        lt=1,
        label="Weight averaging",
        symbol="EMA",
        unit="decay per step",
        step=0.01,
        format="%.4g",
        expert=True,
        help="Evaluate an exponential average of the parameters, which smooths the noise at no privacy cost; 0 is off.",
    )
    seed: int = knob(
        0,
        ge=0,
        le=2**31 - 1,
        label="Initialisation seed",
        unit="integer",
        step=1,
        expert=True,
        help="Seed of the initial parameters. With the reproducible policy it also seeds noise and batches.",
    )
    curve_points: int = knob(
        60,
        ge=2,
        le=2000,
        label="Points on the curve",
        unit="points",
        step=10,
        expert=True,
        help="How many times the run is evaluated on test data and saved, evenly spread over its steps.",
    )


class EncryptionConfig(Section):
    """How what is written to disk is protected. Encryption gives no differential privacy, nor the reverse."""

    mode: Literal["none", "sealed"] = knob(
        "none",
        label="Encryption",
        help="Sealed: checkpoints and exported weights are written only as authenticated ciphertext (AES-256-GCM).",
        labels={"none": "none", "sealed": "sealed files (AES-256-GCM)"},
    )
    key: Literal["keyfile", "passphrase"] = knob(
        "keyfile",
        label="Key",
        help="A key file kept in PrivLab's own folder, or a passphrase that is never written down and is asked again on resume.",
        labels={"keyfile": "key file", "passphrase": "passphrase"},
    )


class PerformanceConfig(Section):
    """Where and how fast. Nothing here changes the guarantee."""

    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto",
        label="Device",
        expert=True,
        help="Where to compute. Auto takes CUDA, then MPS, then the CPU.",
    )
    gradient_method: Literal["auto", "hooks", "ghost"] = knob(
        "auto",
        label="Per-sample gradients",
        expert=True,
        labels={"auto": "auto", "hooks": "Opacus hooks", "ghost": "Opacus ghost clipping"},
        help="Hooks keep each record's gradient in memory; ghost clipping computes norms only, with a second pass.",
    )
    physical_batch_size: int = knob(
        512,
        ge=1,
        le=65536,
        label="Physical batch size",
        unit="records",
        step=64,
        expert=True,
        help="Most records held in memory at once; a batch is processed in chunks of this size with the same result.",
    )
