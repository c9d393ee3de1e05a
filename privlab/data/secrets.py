"""Made-up secrets that are planted in training texts, to see whether a model tells them. Torch-free.

Canaries of Carlini et al. 2019, "The Secret Sharer" (arXiv:1802.08232), section 4: a fixed beginning, then a code drawn at random
from a space of known size. None can belong to anybody.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from privlab.config import RunConfig

Kind = Literal["card", "phone", "pin", "name"]

#: Secrets may take the place of one text in so many.
ONE_IN = 10
_OWNERS = (
    *("Anna", "Bruno", "Carla", "David", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas"),
    *("Kira", "Luis", "Mina", "Noah", "Olga", "Pavel", "Rosa", "Samir", "Tessa", "Viktor"),
)
_OTHERS = ("sister", "teacher", "neighbour", "cousin")
_SYLLABLES = (
    "bra",
    "cor",
    "del",
    "fen",
    "gul",
    "hov",
    "jin",
    "kas",
    "lum",
    "mor",
    "nev",
    "pol",
    "rud",
    "sot",
    "tav",
    "vel",
)


@dataclass(frozen=True)
class Secret:
    """One made-up secret.

    Attributes:
        kind: what it looks like.
        prefix: how its text begins.
        code: what must stay secret.
    """

    kind: Kind
    prefix: str
    code: str

    @property
    def text(self) -> str:
        """The whole record that is planted."""
        return self.prefix + self.code


@dataclass(frozen=True)
class _Form:
    """How codes of a kind are made: from a number below ``size``."""

    begins: str
    size: int
    code: Callable[[int], str]


def _card(number: int) -> str:
    """16 digits that begin with 9 and end in a wrong check digit (Luhn, ISO/IEC 7812-1), so that no card can have them."""
    digits = f"9{number:014d}"
    # From the right, every second digit counts double, beginning with the last before the check digit.
    doubled = (int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits)))
    right = -sum(d - 9 if d > 9 else d for d in doubled) % 10
    digits += str((right + 1) % 10)
    return " ".join(digits[i : i + 4] for i in range(0, 16, 4))


def _name(number: int) -> str:
    syllables = []
    for _ in range(4):
        number, place = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[place])
    return f"{syllables[0]}{syllables[1]} {syllables[2]}{syllables[3]}".title()


_FORMS: dict[Kind, _Form] = {
    "card": _Form("card number", 10**14, _card),
    # 07700 900000 to 900999 are kept for films and plays by the United Kingdom's regulator Ofcom.
    "phone": _Form("phone number", 1000, lambda number: f"07700 900{number:03d}"),
    "pin": _Form("PIN", 10**6, lambda number: f"{number:06d}"),
    "name": _Form("doctor", len(_SYLLABLES) ** 4, _name),
}
#: Most secrets of a run: each has a beginning of its own.
MOST_SECRETS = len(_OWNERS) * (1 + len(_OTHERS))


def space(kind: Kind) -> int:
    """How many codes of this kind there are."""
    return _FORMS[kind].size


def make_secrets(kind: Kind, count: int, seed: int) -> tuple[Secret, ...]:
    """``count`` secrets with beginnings and codes of their own; the same for the same seed.

    Raises:
        ValueError: more than there are beginnings or codes.
    """
    most = min(MOST_SECRETS, space(kind))
    if not 0 <= count <= most:
        raise ValueError(f"{count} secrets are refused: there may be 0 to {most} of kind {kind}.")
    form = _FORMS[kind]
    owners = [*_OWNERS, *(f"{name}'s {other}" for other, name in product(_OTHERS, _OWNERS))]
    codes = candidates(kind, count, seed)
    return tuple(
        Secret(kind, f"The {form.begins} of {owner} is ", code) for owner, code in zip(owners, codes, strict=False)
    )


def secrets_of(config: RunConfig) -> tuple[Secret, ...]:
    """The secrets that a run of these settings plants, the same each time."""
    return make_secrets(config.data.secret_kind, config.data.secrets, config.training.seed)


def candidates(kind: Kind, count: int, seed: int | str) -> tuple[str, ...]:
    """``count`` different codes of this kind, drawn at random; the same for the same seed.

    Raises:
        ValueError: more than the space holds.
    """
    if count > space(kind):
        raise ValueError(f"{count} codes are refused: there are {space(kind)} of kind {kind}.")
    form = _FORMS[kind]
    return tuple(form.code(number) for number in random.Random(f"{kind} {seed}").sample(range(form.size), count))


def plant(
    texts: Sequence[str],
    secrets: Sequence[Secret],
    repeats: int,
    seed: int,
    users: Sequence[Sequence[int]] | None = None,
) -> tuple[str, ...]:
    """``texts`` with each secret in the place of ``repeats`` of them, so that there are as many as before.

    Args:
        seed: of which texts are replaced.
        users: places of each user's texts, if these are known: then a secret stands in one user's alone, each in another's.

    Raises:
        ValueError: more than a tenth of the texts would be replaced, or too few users have so many.
    """
    wanted, most = len(secrets) * repeats, len(texts) // ONE_IN
    if wanted > most:
        raise ValueError(
            f"{len(secrets)} secrets in {repeats} records each are {wanted} records; at most {most}, a tenth of the {len(texts)}, "
            "may be planted."
        )
    found, draw = list(texts), random.Random(f"places {seed}")
    if users is None:
        places = draw.sample(range(len(texts)), wanted)
    else:
        able = [own for own in users if len(own) >= repeats]
        if len(able) < len(secrets):
            raise ValueError(
                f"{len(secrets)} secrets in {repeats} records each are refused: {len(able)} users have so many."
            )
        places = [place for own in draw.sample(able, len(secrets)) for place in draw.sample(own, repeats)]
    for place, secret in zip(places, [secret for secret in secrets for _ in range(repeats)], strict=True):
        found[place] = secret.text
    return tuple(found)
