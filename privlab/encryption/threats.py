"""Which protection answers which attack: facts for the page and the documents. Torch-free.

What is said here follows from what each mode hides from whom (docs/encryption.md) and from what differential privacy bounds
(Dwork and Roth 2014, definition 2.4): the influence of one record on what is released, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Help(StrEnum):
    """How far a protection answers an attack."""

    YES = "answers it"
    PARTLY = "in part"
    NO = "does not help"


@dataclass(frozen=True)
class Attack:
    """One attack and what answers it.

    Attributes:
        name, about: in plain words.
        answers: by the keys of :data:`PROTECTIONS`; what is not named does not help.
        why: a sentence for each protection named.
    """

    name: str
    about: str
    answers: dict[str, Help]
    why: dict[str, str]

    def answer(self, protection: str) -> Help:
        return self.answers.get(protection, Help.NO)


#: Protections by key: short name and what it is.
PROTECTIONS: dict[str, tuple[str, str]] = {
    "dp": ("Differential privacy", "Clipped gradients and noise: bounds what any result tells about one record."),
    "sealed": ("Sealed files", "Checkpoints and weights on disk only as AES-256-GCM ciphertext."),
    "store": ("Encrypted store", "The server holds parameters and updates as ciphertext (BFV, CKKS or pad)."),
    "sum": ("Secure sum", "Several owners' updates are summed under masks that cancel."),
    "full": ("Fully encrypted training", "Data and weights stay encrypted on the server that computes."),
    "shared": ("Secret sharing", "Three parties compute on shares; each alone sees random numbers."),
    "inference": ("Encrypted inference", "The record to be classified is ciphertext to the server."),
}

_YES, _PARTLY = Help.YES, Help.PARTLY

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "Ask the released model about a person",
        "Membership inference and reconstruction from the model's answers or its weights. No encryption helps: the model works "
        "for whoever may use it.",
        {"dp": _YES},
        {"dp": "ε and δ bound how much one record can change anything that is released."},
    ),
    Attack(
        "Steal the disk or a backup",
        "Somebody copies the files of a run.",
        {"sealed": _YES, "store": _YES, "dp": _PARTLY},
        {
            "sealed": "Without the key the files are noise.",
            "store": "Checkpoints of store runs are sealed, and the store writes nothing to disk.",
            "dp": "The thief has the model; the noise bounds what it tells about one record.",
        },
    ),
    Attack(
        "Look into the server",
        "The machine that keeps or computes the parameters is curious, or broken into.",
        {"store": _YES, "sum": _YES, "full": _YES, "shared": _PARTLY, "inference": _YES, "dp": _PARTLY},
        {
            "store": "It holds ciphertext and no secret key.",
            "sum": "It sees masked updates and their sum.",
            "full": "It computes on ciphertext and sees nothing but the noise it drew.",
            "shared": "One party alone sees random shares; two together see all.",
            "inference": "It classifies a ciphertext and returns a ciphertext.",
            "dp": "Where noise is added before anything reaches the server, what it sees is bounded too.",
        },
    ),
    Attack(
        "Look into the training process",
        "Whoever controls the machine that computes gradients reads its memory.",
        {"full": _YES, "shared": _PARTLY},
        {
            "full": "The computing machine holds ciphertext only.",
            "shared": "One machine alone holds random shares; two together hold all.",
        },
    ),
    Attack(
        "Listen on the network",
        "Somebody records what owners and server send each other.",
        {"store": _YES, "sum": _YES, "full": _YES, "shared": _YES, "inference": _YES},
        {
            "store": "Ciphertexts travel in authenticated encryption, and over TLS between hosts.",
            "sum": "Masked updates look random.",
            "full": "Only ciphertexts travel.",
            "shared": "Shares that one link carries look random.",
            "inference": "Only ciphertexts travel.",
        },
    ),
    Attack(
        "Change a file or message unnoticed",
        "A flipped bit makes a homomorphic ciphertext decrypt to garbage without any sign of it.",
        {"sealed": _YES, "store": _YES},
        {
            "sealed": "Every chunk is authenticated; a changed byte is refused.",
            "store": "Every ciphertext travels inside authenticated encryption and is checked.",
        },
    ),
    Attack(
        "Put an old file back",
        "A genuine, older checkpoint replaces the newer one, so that steps would be trained twice.",
        {"sealed": _PARTLY, "store": _PARTLY},
        {
            "sealed": "The file itself cannot tell; the run's record knows the last step and refuses to go on.",
            "store": "As with sealed files; a replayed update is refused by its number.",
        },
    ),
    Attack(
        "A curious co-owner",
        "One of several owners wants to know another's data.",
        {"sum": _YES, "dp": _PARTLY},
        {
            "sum": "Owners and server see the sum only, as long as two owners are honest.",
            "dp": "Every owner knows its own share of the noise, so towards owners ε is larger; the claim card states both.",
        },
    ),
    Attack(
        "Read the record that is classified",
        "The server that offers the model learns what it is asked about.",
        {"inference": _YES},
        {"inference": "The record reaches it as ciphertext, and so does its answer leave."},
    ),
    Attack(
        "Copy the model by asking it",
        "Enough answers let anybody train a copy of the model.",
        {},
        {},
    ),
)
