"""The encryption modes and what each one is worth, as facts: torch-free, read by forms, pages and checks before a launch.

Figures are those of ``benchmarks/encryption_store.py`` on one core of a shared machine: good for a prediction, not a promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from privlab.metrics import size

#: A step of the store that would take longer than this is refused before the launch.
MOST_SECONDS_A_STEP = 60.0


@dataclass(frozen=True)
class ModeFacts:
    """What a mode does, protects and costs.

    Args:
        key: the value of the setting ``encryption.mode``.
        store: the parameter store behind it (:func:`privlab.encryption.store.open_store`).
        exact: whether the stored parameters are exactly the fixed-point sum of the updates.
        bytes_per_parameter: size of one encrypted vector, in bytes a parameter, each way and each owner.
        seconds_per_million: one owner's update of a million parameters, encrypted, sent and added.
        open_seconds_per_million: fetching and decrypting a million parameters.
        server_bytes_per_parameter: memory of the server process, beyond its fixed part.
        most_parameters: largest model that is let in; None is no bound.
        sees: for "thief", "server" and "owner": what that party can read, in plain words.
    """

    key: str
    title: str
    about: str
    protects: str
    does_not_protect: str
    key_holder: str
    store: str
    exact: bool
    bytes_per_parameter: float
    seconds_per_million: float
    open_seconds_per_million: float
    server_bytes_per_parameter: float
    most_parameters: int | None
    sees: dict[str, str]

    @property
    def is_store(self) -> bool:
        """Whether the parameters live as ciphertext in a store with a server process of its own."""
        return self.store != "plain"


@dataclass(frozen=True)
class Prediction:
    """What one step of a store is expected to cost: bytes to and from the server, seconds, and the server's memory in bytes."""

    sent: int
    received: int
    seconds: float
    server_bytes: int


_OWNER_SEES = "Everything: the training process decrypts the parameters to compute gradients with them."
_SERVER_LEAKS = "the number of parameters, how many owners there are, and when each step happens"
_NO_DP = "It gives no differential privacy: whoever may query the released model learns what the noise allows, no less."

MODES: dict[str, ModeFacts] = {
    facts.key: facts
    for facts in (
        ModeFacts(
            key="none",
            title="none",
            about="Parameters stay in the training process, and files are written as they are.",
            protects="Nothing.",
            does_not_protect=f"Checkpoints and weights can be read by whoever gets the files. {_NO_DP}",
            key_holder="nobody: there is no key",
            store="plain",
            exact=True,
            bytes_per_parameter=0.0,
            seconds_per_million=0.0,
            open_seconds_per_million=0.0,
            server_bytes_per_parameter=0.0,
            most_parameters=None,
            sees={
                "thief": "Everything: the files hold the parameters as they are.",
                "server": "There is no server: the parameters never leave the training process.",
                "owner": _OWNER_SEES,
            },
        ),
        ModeFacts(
            key="sealed",
            title="sealed files (AES-256-GCM)",
            about="Checkpoints and weights are written only as authenticated ciphertext; training itself is unchanged.",
            protects="Files on disk and in backups, against reading and against unnoticed change.",
            does_not_protect=f"Parameters in the memory of the training process. {_NO_DP}",
            key_holder="you: a key file or a passphrase",
            store="plain",
            exact=True,
            bytes_per_parameter=0.0,
            seconds_per_million=0.0,
            open_seconds_per_million=0.0,
            server_bytes_per_parameter=0.0,
            most_parameters=None,
            sees={
                "thief": "Names, sizes and times of files, settings and measured points; never a parameter.",
                "server": "There is no server: the parameters never leave the training process.",
                "owner": _OWNER_SEES,
            },
        ),
        ModeFacts(
            key="bfv",
            title="encrypted store, exact (BFV)",
            about="A server process keeps the parameters as BFV ciphertext and adds encrypted updates to them. The sum is exact in "
            "fixed point: no digit differs from the same sum computed in plain.",
            protects="The parameters and every update against the server, and against whoever watches the connection.",
            does_not_protect="The owners' own processes, which decrypt the parameters for each step. With one owner it adds little "
            f"to sealed files. {_NO_DP}",
            key_holder="the data owners: the server has the public parameters and no secret key",
            store="bfv",
            exact=True,
            bytes_per_parameter=15.1,
            seconds_per_million=0.6,
            open_seconds_per_million=0.4,
            server_bytes_per_parameter=105.0,
            most_parameters=10_000_000,
            sees={
                "thief": "Names, sizes and times of sealed files; the store writes nothing to disk.",
                "server": f"Ciphertext, {_SERVER_LEAKS}; no parameter, no update.",
                "owner": _OWNER_SEES,
            },
        ),
        ModeFacts(
            key="ckks",
            title="encrypted store, approximate (CKKS)",
            about="A server process keeps the parameters as CKKS ciphertext and adds encrypted updates to them. CKKS rounds: the stored "
            "parameters differ from the plain sum by less than a millionth after a thousand updates.",
            protects="The parameters and every update against the server, and against whoever watches the connection.",
            does_not_protect="The owners' own processes, which decrypt the parameters for each step. Decrypted parameters carry the "
            "scheme's own error, from which whoever keeps the ciphertexts can compute the key (Li and Micciancio 2021): a server that may "
            f"see the finished model can then read every update. Take BFV or the masked store for a model that is published. {_NO_DP}",
            key_holder="the data owners: the server has the public parameters and no secret key",
            store="ckks",
            exact=False,
            bytes_per_parameter=30.0,
            seconds_per_million=0.9,
            open_seconds_per_million=0.6,
            server_bytes_per_parameter=110.0,
            most_parameters=10_000_000,
            sees={
                "thief": "Names, sizes and times of sealed files; the store writes nothing to disk.",
                "server": f"Ciphertext, {_SERVER_LEAKS}; no parameter, no update.",
                "owner": _OWNER_SEES,
            },
        ),
        ModeFacts(
            key="pad",
            title="encrypted store, masked (AES pad)",
            about="A server process keeps each parameter plus a secret number that only the owners can compute (AES-256 in counter "
            "mode), and adds masked updates. Exact in fixed point, four bytes a parameter: the choice for large models.",
            protects="The parameters and every update against the server, and against whoever watches the connection.",
            does_not_protect="The owners' own processes, which remove the masks for each step. All owners share one key: an owner "
            f"who sees another's masked update can read it. {_NO_DP}",
            key_holder="the data owners, all of them the same key: the server has none",
            store="pad",
            exact=True,
            bytes_per_parameter=4.0,
            seconds_per_million=0.03,
            open_seconds_per_million=0.02,
            server_bytes_per_parameter=16.0,
            most_parameters=100_000_000,
            sees={
                "thief": "Names, sizes and times of sealed files; the store writes nothing to disk.",
                "server": f"Numbers that look random, {_SERVER_LEAKS}; no parameter, no update.",
                "owner": _OWNER_SEES,
            },
        ),
    )
}

#: Optimisers whose update is a sum of what each owner computes alone.
LINEAR_OPTIMIZERS = frozenset({"sgd"})


def predict(mode: str, dimension: int, owners: int = 1) -> Prediction:
    """What a step with ``owners`` contributions to a model of ``dimension`` parameters is expected to cost."""
    facts = MODES[mode]
    vector = facts.bytes_per_parameter * dimension
    seconds = (facts.open_seconds_per_million + facts.seconds_per_million * owners) * dimension / 1e6
    return Prediction(
        round(vector * owners), round(vector), seconds, round(facts.server_bytes_per_parameter * dimension)
    )


def misfit(mode: str, dimension: int, owners: int = 1, optimizer: str = "sgd") -> str | None:
    """Why ``mode`` does not go with this model, number of owners or optimiser, in one sentence; None if it does."""
    facts = MODES[mode]
    if owners > 1 and not facts.is_store:
        return f"{owners} owners need an encrypted store (bfv, ckks or pad); with mode “{mode}” there is one owner."
    if owners > 1 and optimizer not in LINEAR_OPTIMIZERS:
        return (
            f"The optimiser “{optimizer}” divides by statistics of the whole sum, which none of the {owners} owners may see alone; "
            "take sgd, or one owner."
        )
    cost = predict(mode, dimension, owners)
    too_many = facts.most_parameters is not None and dimension > facts.most_parameters
    if not too_many and cost.seconds <= MOST_SECONDS_A_STEP:
        return None
    bound = f"at most {facts.most_parameters:,} parameters and {MOST_SECONDS_A_STEP:.0f} s a step"
    return (
        f"A model of {dimension:,} parameters with {owners} owner{'s' * (owners > 1)} would send {size(cost.sent)} and take about "
        f"{cost.seconds:,.1f} s at every step, and {size(cost.server_bytes)} of the server's memory; mode “{mode}” is let in for {bound}. "
        f"Take a smaller model{'' if mode == 'pad' else ' or mode “pad”'}."
    )
