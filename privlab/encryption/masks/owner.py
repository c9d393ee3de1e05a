"""An owner's side of a round."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from privlab.encryption.masks.messages import Advert, MaskError, Uncovered, require, route
from privlab.encryption.masks.shamir import SHARE_BYTES, split
from privlab.encryption.masks.streams import add_stream, pair_key

_NONCE = 12


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
        require(len(adverts), self._threshold)
        own = split(self._own_mask, self._threshold, self._adverts)
        key = split(self._masking.private_bytes_raw(), self._threshold, self._adverts)
        self._held[self.owner] = own[self.owner], key[self.owner]
        sealed = {}
        for other in self._adverts.keys() - {self.owner}:
            nonce = secrets.token_bytes(_NONCE)
            text = own[other].to_bytes(SHARE_BYTES, "big") + key[other].to_bytes(SHARE_BYTES, "big")
            sealed[other] = nonce + AESGCM(self._sealing_key(other)).encrypt(
                nonce, text, route(self.owner, other, self._label)
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
        require(len(sealed) + 1, self._threshold)
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
        require(len(came), self._threshold)
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
                text[:_NONCE], text[_NONCE:], route(other, self.owner, self._label)
            )
        except (InvalidTag, ValueError):
            raise MaskError(f"Owner {other}'s shares for owner {self.owner} were changed on their way.") from None
        return int.from_bytes(shares[:SHARE_BYTES], "big"), int.from_bytes(shares[SHARE_BYTES:], "big")
