"""Settings of encryption and of the data owners, each declared once: bounds, unit, default and help."""

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
