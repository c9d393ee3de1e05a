"""Settings of data, model, training and performance, which the guarantee is not made of; each declared once."""

from __future__ import annotations

from typing import Literal

from privlab.config.knobs import knob
from privlab.config.section import Section

#: Data sets that are a language task: texts to go on with, into which made-up secrets can be planted.
LANGUAGE_TEXTS = ("sms-messages", "shakespeare", "emails")
#: Data sets whose records are known to be of one person or another.
USERS_TEXTS = ("emails",)
#: Models of which a part can be trained while the rest stays as it was; ``own-*`` are those that somebody added.
PARTLY_TRAINED = ("small-bert", "small-gpt", "minilm", "tinystories", "own-*")


class DataConfig(Section):
    """Which records are trained on."""

    dataset: str = knob(
        "digits",
        label="Data set",
        help="The records to learn from; the privacy guarantee protects each of them, or each user where users are its unit.",
    )
    unit: Literal["record", "user"] = knob(
        "record",
        label="Unit of privacy",
        when={"data.dataset": USERS_TEXTS},
        labels={"record": "one record", "user": "one user, with all records"},
        help="Whom the guarantee protects: one record, or a person with all of their records, whose gradients are averaged and "
        "clipped together. There are fewer users than records, so that the same ε needs more noise.",
    )
    user_records: int = knob(
        4,
        ge=1,
        le=64,
        label="Records of a user at each step",
        symbol="K",
        unit="records",
        step=1,
        expert=True,
        when={"data.dataset": USERS_TEXTS, "data.unit": ("user",)},
        help="So many of a user's records are drawn at each step that they take part in, and their gradients are averaged before "
        "the clip. More cost time and no privacy.",
    )
    secrets: int = knob(
        0,
        ge=0,
        le=100,
        label="Planted secrets",
        unit="made-up secrets",
        step=1,
        when={"data.dataset": LANGUAGE_TEXTS},
        help="Made-up card, phone or PIN numbers are written into the training texts, to see later whether the model tells them. "
        "None belongs to anybody.",
    )
    secret_kind: Literal["card", "phone", "pin", "name"] = knob(
        "card",
        label="Kind of secret",
        expert=True,
        when={"data.dataset": LANGUAGE_TEXTS},
        labels={"card": "card number", "phone": "phone number", "pin": "PIN", "name": "name"},
        help="What the planted secrets look like.",
    )
    secret_repeats: int = knob(
        1,
        ge=1,
        le=100,
        label="Repeats of a secret",
        unit="records each",
        step=1,
        expert=True,
        when={"data.dataset": LANGUAGE_TEXTS},
        help="In how many training records each secret stands; where it is known whose records are whose, all are one user's. What "
        "many records repeat is protected less, unless the guarantee is for a user.",
    )

    @property
    def secret_units(self) -> int:
        """Units of privacy that hold a planted secret."""
        return 1 if self.unit == "user" else self.secret_repeats

    @property
    def task(self) -> Literal["classify", "language"]:
        """What a model learns from these records: their class, or to go on with texts."""
        return "language" if self.dataset in LANGUAGE_TEXTS else "classify"


class ModelConfig(Section):
    """Which network is trained."""

    name: str = knob(
        "mlp",
        label="Model",
        help="The network to train. All of them avoid BatchNorm, which would mix records and void the guarantee.",
    )
    trains: Literal["auto", "all", "lora", "last", "bias", "head"] = knob(
        "auto",
        label="What trains",
        when={"model.name": PARTLY_TRAINED},
        labels={
            "auto": "as usual for the model",
            "all": "everything",
            "lora": "LoRA adapters and any new head",
            "last": "last block and any new head",
            "bias": "biases and any new head",
            "head": "new head alone",
        },
        help="The rest stays as it was before; a pretrained model's table of words always does. Noise is added to every trained parameter, so fewer of them often learn more "
        "under the same ε.",
    )
    lora_rank: int = knob(
        8,
        ge=1,
        le=256,
        label="LoRA rank",
        symbol="r",
        unit="directions",
        step=1,
        expert=True,
        when={"model.name": PARTLY_TRAINED, "model.trains": ("lora",)},
        help="Each adapted layer learns a change of this many directions; a larger rank can learn more and gets more noise.",
    )


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


class PerformanceConfig(Section):
    """Where and how fast. Nothing here changes the guarantee."""

    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto",
        label="Device",
        expert=True,
        help="Where to compute. Auto takes CUDA, then MPS, then the CPU.",
    )
    gradient_method: Literal["auto", "one-pass", "hooks", "ghost"] = knob(
        "auto",
        label="Per-sample gradients",
        expert=True,
        labels={
            "auto": "auto (one pass)",
            "one-pass": "one pass (book-keeping)",
            "hooks": "Opacus hooks",
            "ghost": "Opacus ghost clipping",
        },
        help="One pass finds each record's norm and the clipped sum from what went into each layer and what came back. Hooks keep "
        "each record's gradient in memory; ghost clipping computes norms only, with a second pass. The result is the same.",
    )
    precision: Literal["float32", "bfloat16"] = knob(
        "float32",
        label="Precision of the passes",
        expert=True,
        labels={"float32": "32 bits", "bfloat16": "16 bits (bfloat16)"},
        help="bfloat16 computes forward and backward passes in 16 bits: quicker where the processor or GPU has it, slower where not. "
        "Norms, clipped sums, noise and weights keep 32 bits, so the guarantee is the same.",
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
