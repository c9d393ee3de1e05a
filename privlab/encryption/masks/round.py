"""One round of the secure sum, all parties in this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from privlab.encryption.masks.aggregator import Aggregator
from privlab.encryption.masks.messages import check_threshold
from privlab.encryption.masks.owner import MaskedOwner
from privlab.encryption.masks.shamir import SHARE_BYTES


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
    sent += sum(SHARE_BYTES * (len(a.own_masks) + len(a.mask_keys)) for a in answers)
    return SecureSum(hub.unmasked(answers), hub.came, sent, received)
