"""Several data owners: which records are whose, and each owner's own coin flips."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.randomness import Policy, coins
from privlab.dpsgd.sampling import PoissonSampler
from privlab.privacy.plan import PrivacyPlan


def parts(records: int, owners: int) -> list[np.ndarray]:
    """Indices of each owner's records, int64: record i belongs to owner i mod n for good."""
    return [np.arange(owner, records, owners) for owner in range(owners)]


def check_parts(found: Sequence[np.ndarray], records: int) -> None:
    """Raises MechanismError unless each of ``records`` records belongs to exactly one owner.

    A record of two owners would be clipped twice and add up to 2 C, for which the noise is too small.
    """
    times = np.bincount(np.concatenate(found), minlength=records)
    if len(times) > records or (times != 1).any():
        twice, nobody = int((times > 1).sum()), int((times[:records] == 0).sum())
        raise MechanismError(
            f"The owners' parts do not divide the {records:,} records: {twice:,} belong to several owners, {nobody:,} to none."
        )


class OwnersSampler:
    """Batches in parts: each owner flips the coins of its own records, secret from the others, with the same chance q.

    Together the parts are one Poisson batch of all records, as with one owner.

    Args:
        plan: gives N, q and the number of owners, more than one.
        policy, seed: as for :func:`privlab.dpsgd.randomness.coins`.

    Attributes:
        step: batches drawn so far; does not matter here.

    Raises:
        MechanismError: a record that belongs to no owner, or to several.
    """

    def __init__(self, plan: PrivacyPlan, policy: Policy, seed: int | None):
        self.step, self._parts = 0, parts(plan.records, plan.owners)
        check_parts(self._parts, plan.records)
        self._samplers = [
            PoissonSampler(len(part), plan.sample_rate, coins(policy, seed, owner))
            for owner, part in enumerate(self._parts)
        ]

    def draw(self, absent: Collection[int] = ()) -> dict[int, np.ndarray]:
        """The next batch: indices of all records, increasing, int64 (n,), by owner; who is ``absent`` draws none."""
        self.step += 1
        return {
            owner: part[sampler.draw()]
            for owner, (part, sampler) in enumerate(zip(self._parts, self._samplers, strict=True))
            if owner not in absent
        }

    @property
    def state(self) -> list[int]:
        """Positions in the owners' random streams, for the checkpoint of a reproducible run."""
        return [sampler.state for sampler in self._samplers]

    @state.setter
    def state(self, places: Sequence[int]) -> None:
        for sampler, place in zip(self._samplers, places, strict=True):
            sampler.state = place
