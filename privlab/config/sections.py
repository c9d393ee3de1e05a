"""The groups of settings that do not touch the guarantee, each setting declared once: bounds, unit, default and help."""

from __future__ import annotations

from typing import Literal

from privlab.config.knobs import knob
from privlab.config.section import Section


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
