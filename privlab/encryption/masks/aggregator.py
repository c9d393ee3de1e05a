"""The summing party's side of a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from privlab.encryption.masks.messages import Advert, MaskError, Uncovered, require
from privlab.encryption.masks.shamir import join
from privlab.encryption.masks.streams import add_stream, pair_key


class Aggregator:
    """The summing party of one round; holds no secret. It sees masked words, and at the end the sum.

    Args:
        adverts: of all owners in the round.
        threshold, label: as the owners have them.
    """

    def __init__(self, adverts: Sequence[Advert], threshold: int, label: bytes):
        require(len(adverts), threshold)
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
        require(len(self._sharers), self._threshold)
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
        require(len(self._came), self._threshold)
        require(len(answers), self._threshold)
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
