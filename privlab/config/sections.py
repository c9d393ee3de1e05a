"""The groups of settings that do not touch the guarantee, each setting declared once: bounds, unit, default and help."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import model_validator

from privlab.config.knobs import knob
from privlab.config.section import Section, refusal

#: What the name of a key looks like; it is also the name of a file.
KEY_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
KEY_NAME_RULE = "a key's name has 1 to 40 characters of a–z, 0–9, _ and -, and begins with a letter or digit"


#: Modes of encryption in which a server keeps the parameters, and those that seal files.
STORES = ("bfv", "ckks", "pad")
_SEALS = ("sealed", *STORES)
#: Data sets that are a language task: texts to go on with, into which made-up secrets can be planted.
LANGUAGE_TEXTS = ("sms-messages",)
#: Models of which a part can be trained while the rest stays as it was.
PARTLY_TRAINED = ("small-bert", "small-gpt")


class DataConfig(Section):
    """Which records are trained on."""

    dataset: str = knob(
        "digits",
        label="Data set",
        help="The records to learn from; each record is what the privacy guarantee protects.",
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
        help="In how many training records each secret stands. The guarantee is for one record: what many records repeat is "
        "protected less.",
    )

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
            "lora": "LoRA adapters and head",
            "last": "last block and head",
            "bias": "biases and head",
            "head": "head alone",
        },
        help="The rest stays as it was before. Noise is added to every trained parameter, so fewer of them often learn more "
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


class EncryptionConfig(Section):
    """How what is written to disk is protected. Encryption gives no differential privacy, nor the reverse."""

    mode: Literal["none", "sealed", "bfv", "ckks", "pad"] = knob(
        "none",
        label="Encryption",
        help="Sealed: checkpoints and exported weights are written only as authenticated ciphertext (AES-256-GCM). Store: a "
        "server process also keeps the parameters as ciphertext between the steps, and adds encrypted updates to them without "
        "a key.",
        labels={
            "none": "none",
            "sealed": "sealed files (AES-256-GCM)",
            "bfv": "encrypted store, exact (BFV)",
            "ckks": "encrypted store, approximate (CKKS)",
            "pad": "encrypted store, AES pad (large models)",
        },
    )
    key: Literal["keyfile", "passphrase", "keyring"] = knob(
        "keyfile",
        label="Key",
        help="A key file in PrivLab's own folder, a passphrase that is never written down and is asked again on resume, or "
        "a key that the operating system's keyring keeps; the last one needs a name.",
        labels={"keyfile": "key file", "passphrase": "passphrase", "keyring": "OS keyring"},
        when={"encryption.mode": _SEALS},
    )
    key_name: str = knob(
        "",
        label="Key name",
        unit="empty: default key",
        help="A key made on the Encryption page or with “python -m privlab keys create”, which can be rotated and destroyed.",
        when={"encryption.mode": _SEALS},
    )

    owners: int = knob(
        1,
        ge=1,
        le=10,
        label="Data owners",
        symbol="n",
        unit="owners",
        step=1,
        when={"encryption.mode": STORES},
        help="Each owner holds its own part of the records, clips and adds a share of the noise itself, so that nobody else "
        "sees its gradients. Here all owners are simulated on one machine.",
    )
    aggregation: Literal["homomorphic", "masks"] = knob(
        "homomorphic",
        label="Sum of the owners",
        expert=True,
        when={"encryption.mode": STORES},
        help="With several owners: the store's server adds their ciphertexts, or masks that cancel hide each owner's numbers "
        "from whoever adds them up, the other owners included; then owners may drop out of a step.",
        labels={"homomorphic": "ciphertexts, by the store", "masks": "masks that cancel (secure sum)"},
    )
    dropouts: int = knob(
        0,
        ge=0,
        le=4,
        label="Owners that may drop out",
        unit="owners a step",
        step=1,
        expert=True,
        when={"encryption.aggregation": ("masks",), "encryption.mode": STORES},
        help="The noise of the other owners alone is then as large as ε needs, so each adds more; fewer than half may drop out.",
    )
    dropout_rate: float = knob(
        0.0,
        ge=0,
        le=0.5,
        label="Drop-outs, simulated",
        unit="chance of an owner, each step",
        step=0.05,
        format="%.3g",
        expert=True,
        when={"encryption.aggregation": ("masks",), "encryption.mode": STORES},
        help="Lets owners drop out of a step at random after they have agreed on masks. Where too many do, the sum stays "
        "hidden and the step begins again.",
    )

    server: str = knob(
        "",
        label="Store server",
        unit="host:port; empty: started here",
        expert=True,
        when={"encryption.mode": STORES},
        help="A store server on another host, reached over TLS with both sides' certificates; the client's are in the folder "
        "“certificates” of PrivLab's own folder. Empty starts a server process on this machine.",
    )

    @property
    def is_sealed(self) -> bool:
        """Whether files are written only as ciphertext."""
        return self.mode in _SEALS

    @property
    def is_store(self) -> bool:
        """Whether a server keeps the parameters as ciphertext between the steps."""
        return self.mode in STORES

    @property
    def sharing_owners(self) -> int:
        """Owners of this mode: 1 where there is no store."""
        return self.owners if self.is_store else 1

    @property
    def masks(self) -> bool:
        """Whether several owners are summed by masks."""
        return self.sharing_owners > 1 and self.aggregation == "masks"

    @property
    def tolerated_dropouts(self) -> int:
        return self.dropouts if self.masks else 0

    @property
    def needs_passphrase(self) -> bool:
        """Whether what is written opens only with a passphrase that a person must enter."""
        return self.mode != "none" and self.key == "passphrase"

    @model_validator(mode="after")
    def _server_has_an_address(self) -> Self:
        host, _, port = self.server.rpartition(":")
        if self.server and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            raise refusal(
                "encryption.server", f"server={self.server!r} is not of the form host:port, with a port to 65535."
            )
        return self

    @model_validator(mode="after")
    def _key_is_named(self) -> Self:
        if self.key_name and not re.fullmatch(KEY_NAME, self.key_name):
            raise refusal("encryption.key_name", f"key_name={self.key_name!r} is refused: {KEY_NAME_RULE}.")
        if self.mode != "none" and self.key == "keyring" and not self.key_name:
            raise refusal("encryption.key_name", "key=keyring needs a key_name: create one with “keys create” first.")
        return self


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
