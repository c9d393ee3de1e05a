"""The groups of settings, each setting declared once: bounds, unit, default and help."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from privlab.config.knobs import knob
from privlab.config.schedule import CONSTANT, Schedule, parse_custom


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


_SCHEDULES = {
    "constant": "constant",
    "linear": "linear",
    "exponential": "exponential",
    "step": "stairs",
    "custom": "custom",
}
_NOT_CONSTANT = ("linear", "exponential", "step")


class PrivacyConfig(Section):
    """Clipping, noise and how the cost is counted (Abadi et al. 2016, algorithm 1)."""

    clipping: Literal["flat", "per-layer", "automatic", "adaptive", "none"] = knob(
        "flat",
        label="Clipping",
        help="How each record's gradient is bounded before summing. Flat shortens the whole gradient to C; per layer "
        "shortens each layer's part to C/√(layers); automatic scales every gradient to nearly C; adaptive lets C follow "
        "a quantile of the gradient norms, at a share of the budget. Without clipping no noise is enough.",
        labels={
            "flat": "per record (flat)",
            "per-layer": "per record and layer",
            "automatic": "automatic (AUTO-S)",
            "adaptive": "adaptive quantile",
            "none": "none",
        },
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
        help="The longest gradient that one record may contribute; longer ones are shortened to this length. "
        "Adaptive clipping starts from it.",
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
    epsilon_limit: float = knob(
        0.0,
        ge=0,
        le=1000,
        label="Stop at epsilon",
        symbol="ε",
        unit="0: at the last epoch",
        step=0.5,
        format="%.4g",
        expert=True,
        help="The run ends by itself after the last step whose ε does not exceed this; 0 trains all epochs.",
    )
    automatic_stability: float = knob(
        0.01,
        ge=0,
        le=10,
        label="Stability",
        symbol="γ",
        step=0.01,
        format="%.4g",
        expert=True,
        when={"privacy.clipping": ("automatic",)},
        help="Automatic clipping scales a gradient g to C·g/(‖g‖+γ), so short gradients stay shorter; 0 makes every "
        "gradient exactly C long (Bu et al. 2023).",
    )
    target_quantile: float = knob(
        0.5,
        gt=0,
        lt=1,
        label="Target quantile",
        symbol="γ",
        step=0.05,
        format="%.3g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="The share of gradients that C should not shorten (Andrew et al. 2021).",
    )
    quantile_rate: float = knob(
        0.2,
        gt=0,
        le=5,
        label="Quantile learning rate",
        symbol="η_C",
        step=0.05,
        format="%.3g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="How fast C follows: each step multiplies it by exp(−η_C·(share not clipped − target quantile)).",
    )
    quantile_noise: float = knob(
        0.05,
        gt=0,
        le=10,
        label="Noise on the count",
        symbol="σ_b/B",
        unit="× B",
        step=0.01,
        format="%.4g",
        expert=True,
        when={"privacy.clipping": ("adaptive",)},
        help="Noise on the number of gradients that are not clipped. Less noise here takes a larger share of the budget, "
        "so the gradients get more; the total stays at σ.",
    )
    clip_schedule: Literal["constant", "linear", "exponential", "step", "custom"] = knob(
        "constant",
        label="Clip schedule",
        expert=True,
        labels=_SCHEDULES,
        when={"privacy.clipping": ("flat", "per-layer", "automatic")},
        help="How C changes over the steps. The noise follows it step by step, so ε does not change.",
    )
    clip_schedule_end: float = knob(
        0.5,
        ge=0.001,
        le=1000,
        label="C at the end",
        unit="× C",
        step=0.1,
        format="%.4g",
        expert=True,
        when={"privacy.clip_schedule": _NOT_CONSTANT, "privacy.clipping": ("flat", "per-layer", "automatic")},
        help="The bound at the last step, in multiples of the first.",
    )
    clip_schedule_custom: str = knob(
        "1:1",
        label="C from step on",
        unit="step:factor, …",
        expert=True,
        when={"privacy.clip_schedule": ("custom",), "privacy.clipping": ("flat", "per-layer", "automatic")},
        help="From which step on C is multiplied by what: 1:1, 500:0.5 halves it from step 500 on.",
    )
    noise_schedule: Literal["constant", "linear", "exponential", "step", "custom"] = knob(
        "constant",
        label="Noise schedule",
        expert=True,
        labels=_SCHEDULES,
        help="How σ changes over the steps; ε counts every step with its own σ. With a target ε the whole schedule is scaled.",
    )
    noise_schedule_end: float = knob(
        0.5,
        ge=0.001,
        le=1000,
        label="σ at the end",
        unit="× σ",
        step=0.1,
        format="%.4g",
        expert=True,
        when={"privacy.noise_schedule": _NOT_CONSTANT},
        help="The noise multiplier at the last step, in multiples of the first.",
    )
    noise_schedule_custom: str = knob(
        "1:1",
        label="σ from step on",
        unit="step:factor, …",
        expert=True,
        when={"privacy.noise_schedule": ("custom",)},
        help="From which step on σ is multiplied by what: 1:1, 500:2 doubles it from step 500 on.",
    )
    schedule_stairs: int = knob(
        4,
        ge=2,
        le=64,
        label="Stairs",
        step=1,
        expert=True,
        when={"privacy.clip_schedule|privacy.noise_schedule": ("step",)},
        help="In how many even stairs a stairs schedule goes from its first value to its last.",
    )
    bands: int = knob(
        1,
        ge=1,
        le=64,
        label="Bands of correlated noise",
        symbol="b",
        unit="1: DP-SGD",
        step=1,
        expert=True,
        help="Above 1: DP-FTRL by banded matrix factorisation. The noise of b steps in a row partly cancels, and each "
        "record can join every b-th batch only, with b times the chance; ε counts these.",
    )
    adjacency: Literal["add-or-remove-one", "replace-one"] = knob(
        "add-or-remove-one",
        label="Neighbouring data sets",
        expert=True,
        labels={"add-or-remove-one": "one record added or removed", "replace-one": "one record replaced"},
        help="What an attacker must not tell apart: the data with and without one record, or with one record replaced "
        "by any other. Replacing is the stronger promise: the same noise gives up to twice the ε.",
    )
    accountant: Literal["pld", "rdp"] = knob(
        "pld",
        label="Accountant",
        expert=True,
        labels={"pld": "PLD (tight)", "rdp": "RDP (looser)"},
        help="How ε is added up. PLD composes privacy loss distributions and is tight; RDP (Rényi) gives 9–20 % more ε for "
        "the same noise. Both are upper bounds.",
    )
    randomness: Literal["private", "plain", "reproducible"] = knob(
        "private",
        label="Randomness",
        help="Private draws noise and batches from a stream cipher keyed by the operating system. Plain takes the noise "
        "from PyTorch's generator, which is not cryptographic. Reproducible derives all from a known seed, which voids "
        "the privacy guarantee.",
        labels={
            "private": "private (stream cipher)",
            "plain": "plain (PyTorch's generator)",
            "reproducible": "reproducible, not private",
        },
        expert=True,
    )
    protection: Literal["none", "rounded"] = knob(
        "none",
        label="Floating-point protection",
        expert=True,
        labels={"none": "none", "rounded": "rounded Gaussian"},
        help="Noise in floating point leaves traces in the last digits, which can give a record away. Rounded puts sum and "
        "noise on a common grid and adds them as whole numbers; ε counts the rounding.",
    )

    @model_validator(mode="after")
    def _noise_is_said_once(self) -> Self:
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
        if self.clipping == "none" and self.is_private:
            given = f"target_epsilon={target:g}" if target is not None else f"noise_multiplier={sigma:g}"
            raise _refuse(
                "privacy.clipping",
                f"clipping=none with {given}: without a bound on each record no noise gives a guarantee; "
                "choose flat clipping, or noise_multiplier=0.",
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Combinations for which no sound mechanism is built."""
        for which in ("clip", "noise"):
            path, text = f"{which}_schedule_custom", getattr(self, f"{which}_schedule_custom")
            if getattr(self, f"{which}_schedule") == "custom":
                try:
                    parse_custom(text)
                except ValueError as error:
                    raise _refuse(f"privacy.{path}", f"{path}={text!r} is refused: {error}") from None
        if self.clipping == "adaptive" and not self.is_private:
            raise _refuse(
                "privacy.clipping",
                "clipping=adaptive without noise: its count is only private with noise; choose flat.",
            )
        if self.protection == "rounded" and self.randomness == "plain":
            raise _refuse(
                "privacy.protection",
                "protection=rounded with randomness=plain: whole-number noise comes from the stream cipher only; choose "
                "randomness=private.",
            )
        if self.bands > 1:
            clash = (
                "clipping=adaptive" * (self.clipping == "adaptive")
                or f"clip_schedule={self.clip_schedule}" * (not self.schedule_of_clip.is_constant)
                or f"noise_schedule={self.noise_schedule}" * (not self.schedule_of_noise.is_constant)
                or "protection=rounded" * (self.protection == "rounded")
                or "noise_multiplier=0" * (not self.is_private)
            )
            if clash:
                raise _refuse(
                    "privacy.bands",
                    f"bands={self.bands} with {clash}: correlated noise is counted for one constant C and σ above 0 in "
                    "floating point only; choose bands=1, or change the other setting.",
                )
        return self

    @property
    def is_private(self) -> bool:
        """Whether a finite ε is claimed at all (noise is added to clipped gradients)."""
        return self.target_epsilon is not None or bool(self.noise_multiplier)

    @property
    def schedule_of_noise(self) -> Schedule:
        """Factor on σ, step by step."""
        return _schedule(self.noise_schedule, self.noise_schedule_end, self.schedule_stairs, self.noise_schedule_custom)

    @property
    def schedule_of_clip(self) -> Schedule:
        """Factor on C, step by step; constant where C is learnt or not used."""
        if self.clipping in ("adaptive", "none"):
            return CONSTANT
        return _schedule(self.clip_schedule, self.clip_schedule_end, self.schedule_stairs, self.clip_schedule_custom)


def _schedule(kind: str, end: float, stairs: int, custom: str) -> Schedule:
    if kind == "constant":
        return CONSTANT
    if kind == "custom":
        return Schedule("custom", custom=parse_custom(custom))
    return Schedule(kind, end, stairs) if kind == "step" else Schedule(kind, end)


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
    optimizer: Literal["sgd", "adam", "adam-bc"] = knob(
        "sgd",
        label="Optimiser",
        help="How the noisy gradient moves the parameters; this is post-processing and costs no privacy. Adam with bias "
        "correction subtracts the noise's known variance from Adam's second moment.",
        labels={"sgd": "SGD with momentum", "adam": "Adam", "adam-bc": "Adam, noise bias corrected"},
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
        when={"training.optimizer": ("sgd",)},
        help="Share of the previous update that SGD keeps.",
    )
    augmentations: int = knob(
        1,
        ge=1,
        le=64,
        label="Augmentation multiplicity",
        symbol="K",
        unit="views a record",
        step=1,
        expert=True,
        help="Each record's gradient is the mean over K shifted (for colour also mirrored) views of it, clipped once, so ε "
        "does not change (De et al. 2022); 1 trains on the records as they are.",
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
        when={"encryption.mode": ("sealed",)},
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
