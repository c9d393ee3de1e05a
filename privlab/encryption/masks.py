"""Secure sum: owners add masks that cancel, so that whoever sums sees the sum and no owner's numbers.

The protocol of Bonawitz et al. 2017 ("Practical secure aggregation for privacy-preserving machine learning", CCS, figure 4)
against parties that follow it and look at all they get. All numbers are words modulo 2³², so masks cancel exactly. One
round sums once, with keys made for that round:

1. Each owner shows two X25519 public keys. 2. It draws a mask of its own, b, and gives every other owner one Shamir share
of b and one of its mask key, sealed for that owner. 3. It sends its words + PRG(b) ± one mask for each other owner, from
a secret that only the two share. 4. For owners that sent, the others give up their shares of b; for owners that dropped
out in between, their shares of the mask key, so that the masks that no longer cancel can be worked out. Never both for
one owner: together they would uncover its words.

Keys are fresh in each round because a mask key that was given up, with the b of an earlier round, would uncover the
words of that round too. ``threshold`` owners must answer; more than half of them must, or a summing party that tells two
halves two stories would get both. It must not make up drop-outs all the same: against that the paper signs messages,
which is not built here.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: Shares lie in the integers modulo this Mersenne prime, far above any 256-bit secret.
_PRIME = 2**521 - 1
_SHARE_BYTES = 66
_NONCE = 12
#: Words of a mask made at a time.
_PART = 1 << 15


class MaskError(Exception):
    """A round of the secure sum that cannot go on, in plain words. Nothing of it was uncovered."""


@dataclass(frozen=True)
class Advert:
    """An owner's two public keys, 32 bytes each: one seals shares, one makes masks."""

    owner: int
    sealing: bytes
    masking: bytes


@dataclass(frozen=True)
class Uncovered:
    """Shares that ``owner`` gives up: of ``b`` for owners whose words came in, of the mask key for those that dropped out."""

    owner: int
    own_masks: dict[int, int]
    mask_keys: dict[int, int]


def split(secret: bytes, threshold: int, holders: Iterable[int]) -> dict[int, int]:
    """Shamir shares (1979) of a 32-byte secret, by holder: values at holder + 1 of a random polynomial of degree
    threshold − 1 whose value at 0 is the secret. Fewer than ``threshold`` of them say nothing about it."""
    coefficients = [int.from_bytes(secret, "big"), *(secrets.randbelow(_PRIME) for _ in range(threshold - 1))]
    found = {}
    for holder in holders:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * (holder + 1) + coefficient) % _PRIME
        found[holder] = value
    return found


def join(shares: Mapping[int, int], threshold: int) -> bytes:
    """The secret of :func:`split`, by Lagrange interpolation at 0.

    Raises:
        MaskError: fewer shares than ``threshold``, or shares that do not belong together.
    """
    if len(shares) < threshold:
        raise MaskError(f"Only {len(shares)} shares of a secret are there; {threshold} are needed.")
    chosen = sorted(shares.items())[:threshold]
    total = 0
    for holder, value in chosen:
        factor = 1
        for other, _ in chosen:
            if other != holder:
                factor = factor * (other + 1) * pow(other - holder, -1, _PRIME) % _PRIME
        total = (total + value * factor) % _PRIME
    if total >> 256:
        raise MaskError("The shares of a secret do not belong together.")
    return total.to_bytes(32, "big")


class MaskedOwner:
    """One owner's side of one round. Call ``advertise``, ``share``, ``mask`` and ``uncover`` once each, in that order.

    Args:
        owner: this owner's number, from 0.
        threshold: owners that must answer for the sum to come out.
        label: names the run and the round; all parties give the same.
    """

    def __init__(self, owner: int, threshold: int, label: bytes):
        self.owner, self._threshold, self._label = owner, threshold, label
        self._sealing, self._masking = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        self._own_mask = secrets.token_bytes(32)
        self._adverts: dict[int, Advert] = {}
        self._held: dict[int, tuple[int, int]] = {}
        self._done: set[str] = set()

    def advertise(self) -> Advert:
        """1: the public keys."""
        return Advert(
            self.owner, self._sealing.public_key().public_bytes_raw(), self._masking.public_key().public_bytes_raw()
        )

    def share(self, adverts: Sequence[Advert]) -> dict[int, bytes]:
        """2: for each other owner, its sealed shares of this owner's b and mask key.

        Raises:
            MaskError: fewer owners than ``threshold``, or one of them twice.
        """
        self._once("share")
        self._adverts = {advert.owner: advert for advert in adverts}
        keys = {key for advert in adverts for key in (advert.sealing, advert.masking)}
        if len(self._adverts) < len(adverts) or len(keys) < 2 * len(adverts):
            raise MaskError("Two owners showed the same number or the same key; the round is refused.")
        if self._adverts.get(self.owner) != self.advertise():
            raise MaskError(f"Owner {self.owner} is not among the owners of the round.")
        _require(len(adverts), self._threshold)
        own = split(self._own_mask, self._threshold, self._adverts)
        key = split(self._masking.private_bytes_raw(), self._threshold, self._adverts)
        self._held[self.owner] = own[self.owner], key[self.owner]
        sealed = {}
        for other in self._adverts.keys() - {self.owner}:
            nonce = secrets.token_bytes(_NONCE)
            text = own[other].to_bytes(_SHARE_BYTES, "big") + key[other].to_bytes(_SHARE_BYTES, "big")
            sealed[other] = nonce + AESGCM(self._sealing_key(other)).encrypt(
                nonce, text, _route(self.owner, other, self._label)
            )
        return sealed

    def mask(self, words: np.ndarray, sealed: Mapping[int, bytes]) -> np.ndarray:
        """3: ``words`` under all masks.

        Args:
            words: (d,) uint32.
            sealed: the shares for this owner by the owner that sent them; who sent none is out of the round.

        Returns:
            (d,) uint32, uniformly random to whoever lacks the masks.

        Raises:
            MaskError: fewer owners than ``threshold`` are left, or a share was changed on its way.
        """
        self._once("mask")
        _require(len(sealed) + 1, self._threshold)
        for other, text in sealed.items():
            self._held[other] = self._opened(other, text)
        masked = words.copy()
        add_stream(masked, self._own_mask)
        for other in sorted(sealed):
            pair = pair_key(self._masking, self._adverts[other].masking, self._label, self.owner, other)
            add_stream(masked, pair, minus=other < self.owner)
        return masked

    def uncover(self, came: Collection[int]) -> Uncovered:
        """4: shares of b for the owners whose words came in, of the mask key for the others.

        Raises:
            MaskError: fewer owners than ``threshold``, or asked a second time: two answers could uncover one owner.
        """
        self._once("uncover")
        _require(len(came), self._threshold)
        if not set(came) <= self._held.keys():
            raise MaskError(f"Words of owners {sorted(set(came) - self._held.keys())} are not part of the round.")
        return Uncovered(
            self.owner,
            {other: shares[0] for other, shares in self._held.items() if other in came},
            {other: shares[1] for other, shares in self._held.items() if other not in came},
        )

    def _once(self, what: str) -> None:
        if what in self._done:
            raise MaskError(f"Owner {self.owner} was asked to {what} twice in one round; keys serve one round only.")
        self._done.add(what)

    def _sealing_key(self, other: int) -> bytes:
        return pair_key(self._sealing, self._adverts[other].sealing, b"seal " + self._label, self.owner, other)

    def _opened(self, other: int, text: bytes) -> tuple[int, int]:
        if other not in self._adverts:
            raise MaskError(f"Owner {other} sent shares without having shown its keys.")
        try:
            shares = AESGCM(self._sealing_key(other)).decrypt(
                text[:_NONCE], text[_NONCE:], _route(other, self.owner, self._label)
            )
        except (InvalidTag, ValueError):
            raise MaskError(f"Owner {other}'s shares for owner {self.owner} were changed on their way.") from None
        return int.from_bytes(shares[:_SHARE_BYTES], "big"), int.from_bytes(shares[_SHARE_BYTES:], "big")


class Aggregator:
    """The summing party of one round; holds no secret. It sees masked words, and at the end the sum.

    Args:
        adverts: of all owners in the round.
        threshold, label: as the owners have them.
    """

    def __init__(self, adverts: Sequence[Advert], threshold: int, label: bytes):
        _require(len(adverts), threshold)
        self._adverts = {advert.owner: advert for advert in adverts}
        self._threshold, self._label = threshold, label
        self._sharers: set[int] = set()
        self._routed: dict[int, dict[int, bytes]] = {}
        self._came: list[int] = []
        self._total: np.ndarray | None = None

    def route(self, owner: int, sealed: Mapping[int, bytes]) -> None:
        """Take an owner's sealed shares, to hand them on."""
        self._sharers.add(owner)
        for other, text in sealed.items():
            self._routed.setdefault(other, {})[owner] = text

    def shares_for(self, owner: int) -> dict[int, bytes]:
        """What the others sealed for ``owner``. Raises MaskError if too few owners are left."""
        _require(len(self._sharers), self._threshold)
        return self._routed.get(owner, {})

    def add(self, owner: int, masked: np.ndarray) -> None:
        """Take an owner's masked words, (d,) uint32.

        Raises:
            MaskError: the owner is not in the round, has sent already, or sent another number of words.
        """
        if owner not in self._sharers or owner in self._came:
            what = "has sent its words already" if owner in self._came else "is not part of the round"
            raise MaskError(f"Owner {owner} {what}.")
        if self._total is None:
            self._total = np.zeros(masked.size, dtype=np.uint32)
        if masked.dtype != np.uint32 or masked.shape != self._total.shape:
            raise MaskError(
                f"Owner {owner} sent {masked.size} words of {masked.dtype}, not {self._total.size} of uint32."
            )
        self._total += masked
        self._came.append(owner)

    @property
    def came(self) -> tuple[int, ...]:
        """Owners whose words are in the sum."""
        return tuple(sorted(self._came))

    def unmasked(self, answers: Sequence[Uncovered]) -> np.ndarray:
        """The sum of the words of the owners that :attr:`came`, (d,) uint32.

        Raises:
            MaskError: fewer owners than ``threshold`` sent words or answered; the sum stays hidden.
        """
        _require(len(self._came), self._threshold)
        _require(len(answers), self._threshold)
        total = self._total.copy()
        for owner in self._came:
            seed = join({answer.owner: answer.own_masks[owner] for answer in answers}, self._threshold)
            add_stream(total, seed, minus=True)
        for gone in self._sharers - set(self._came):
            secret = join({answer.owner: answer.mask_keys[gone] for answer in answers}, self._threshold)
            key = X25519PrivateKey.from_private_bytes(secret)
            if key.public_key().public_bytes_raw() != self._adverts[gone].masking:
                raise MaskError(f"The shares of owner {gone}'s mask key give another key than it showed.")
            for owner in self._came:
                # What `owner` added for `gone` and now has no counterpart.
                pair = pair_key(key, self._adverts[owner].masking, self._label, owner, gone)
                add_stream(total, pair, minus=gone > owner)
        return total


@dataclass(frozen=True)
class SecureSum:
    """What a round gave: ``words`` (d,) uint32, the owners in it, and the bytes that owners sent and received."""

    words: np.ndarray
    owners: tuple[int, ...]
    sent: int
    received: int


def secure_sum(
    words: Mapping[int, np.ndarray],
    owners: int,
    threshold: int,
    label: bytes,
    *,
    gone_before: Collection[int] = (),
    gone_late: Collection[int] = (),
) -> SecureSum:
    """One round with all parties in this process, each an object that gets only its own messages.

    Args:
        words: (d,) uint32 by owner; an owner without words shares keys and then drops out, before it sends.
        owners: n, all of them.
        threshold: owners that must answer, at most n and more than n / 2.
        gone_before: owners that never show their keys.
        gone_late: owners that send their words and do not answer afterwards; their words count.

    Raises:
        MaskError: too few owners are left; nothing is uncovered.
    """
    check_threshold(owners, threshold)
    parties = {owner: MaskedOwner(owner, threshold, label) for owner in range(owners) if owner not in gone_before}
    adverts = [party.advertise() for party in parties.values()]
    hub = Aggregator(adverts, threshold, label)
    sent = received = 64 * len(adverts)
    received *= len(adverts)
    for owner, party in parties.items():
        sealed = party.share(adverts)
        hub.route(owner, sealed)
        sent += sum(map(len, sealed.values()))
    for owner, party in parties.items():
        if owner in words:
            sealed = hub.shares_for(owner)
            received += sum(map(len, sealed.values()))
            masked = party.mask(words[owner], sealed)
            hub.add(owner, masked)
            sent += masked.nbytes
    answers = [parties[owner].uncover(hub.came) for owner in hub.came if owner not in gone_late]
    sent += sum(_SHARE_BYTES * (len(a.own_masks) + len(a.mask_keys)) for a in answers)
    return SecureSum(hub.unmasked(answers), hub.came, sent, received)


def veil(words: np.ndarray, key: bytes, label: bytes, owner: int, *, lift: bool = False) -> None:
    """Put ``words`` (d,) uint32 of one owner under a key that the owners share and the summing party lacks, or ``lift`` it.

    The summing party then sees a random sum; owners lift the veil of each owner whose words are in it. Masks alone would show
    it the sum, and after a crash a second sum for steps that are done again.

    Args:
        key: 32 bytes. A label serves one round: the same words twice under one key and label would show their difference.
    """
    info = b"privlab veil 1 " + struct.pack(">I", owner) + label
    add_stream(words, HKDF(SHA256(), 32, salt=None, info=info).derive(key), minus=lift)


def check_threshold(owners: int, threshold: int) -> None:
    """Raises MaskError unless n / 2 < threshold ≤ n."""
    if not owners / 2 < threshold <= owners:
        raise MaskError(
            f"threshold={threshold} must be more than half of the {owners} owners, and at most all of them."
        )


def add_stream(words: np.ndarray, key: bytes, *, minus: bool = False) -> None:
    """Add to ``words``, (d,) uint32, or subtract the words that a 32-byte key used once stands for: AES-256 in counter mode
    from 0, read as little-endian numbers. In parts that stay in the processor's cache."""
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    zeros, out = memoryview(bytes(4 * _PART)), np.empty(_PART, dtype="<u4")
    change = np.subtract if minus else np.add
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART]
        encryptor.update_into(zeros[: part.nbytes], out[: part.size].view(np.uint8))
        change(part, out[: part.size], out=part)


def pair_key(mine: X25519PrivateKey, theirs: bytes, label: bytes, one: int, other: int) -> bytes:
    """The 32-byte key that two owners share: HKDF-SHA256 of their X25519 secret, bound to the round and to the pair.

    Raises:
        MaskError: a public key that gives no secret (a point of small order).
    """
    try:
        secret = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise MaskError("A public key is not one that a secret can be agreed on with.") from None
    info = b"privlab masks 1 " + struct.pack(">II", min(one, other), max(one, other)) + label
    return HKDF(SHA256(), 32, salt=None, info=info).derive(secret)


def _route(sender: int, receiver: int, label: bytes) -> bytes:
    return struct.pack(">II", sender, receiver) + label


def _require(there: int, threshold: int) -> None:
    if there < threshold:
        raise MaskError(f"{there} owners are left in the round; {threshold} are needed, so the sum stays hidden.")
