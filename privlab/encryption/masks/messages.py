"""What the parties of a round show each other, and why a round cannot go on."""

from __future__ import annotations

import struct
from dataclasses import dataclass


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


def check_threshold(owners: int, threshold: int) -> None:
    """Raises MaskError unless n / 2 < threshold ≤ n."""
    if not owners / 2 < threshold <= owners:
        raise MaskError(
            f"threshold={threshold} must be more than half of the {owners} owners, and at most all of them."
        )


def require(there: int, threshold: int) -> None:
    """Raises MaskError where fewer than ``threshold`` owners are there."""
    if there < threshold:
        raise MaskError(f"{there} owners are left in the round; {threshold} are needed, so the sum stays hidden.")


def route(sender: int, receiver: int, label: bytes) -> bytes:
    """What sealed shares are bound to: who sends them to whom, and in which round."""
    return struct.pack(">II", sender, receiver) + label
