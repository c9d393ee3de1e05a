"""What every store checks the same way: the shape of a vector, whose turn it is, and that nothing is used twice."""

from __future__ import annotations

import numpy as np

from privlab.encryption.store.contract import StoreError


def checked_vector(vector: np.ndarray, dimension: int) -> np.ndarray:
    """``vector`` as a contiguous float64 array of ``dimension`` finite values. Raises StoreError naming what is wrong."""
    values = np.ascontiguousarray(vector, dtype=np.float64)
    if values.shape != (dimension,):
        raise StoreError(f"A vector of shape {values.shape} was given; this store holds ({dimension},).")
    # A sum is finite only if every value is, or if values cancel to infinity − infinity = NaN, which is not finite either.
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(values.sum()) and not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise StoreError(f"Value {at} of the vector is {values[at]}; a store holds finite numbers only.")
    return values


class Turns:
    """Who has contributed to which revision; the same rules at the client, before a pad is spent, and at the server.

    Args:
        owners: how many owners were announced; each contributes exactly once to each revision.
    """

    def __init__(self, owners: int):
        self.owners = owners
        self.revision = -1
        self.given: set[int] = set()

    def restart(self, revision: int) -> None:
        """A new state at ``revision``; what was pending is dropped."""
        if revision < 0:
            raise StoreError(f"Revision {revision} was given; revisions start at 0.")
        self.revision, self.given = revision, set()

    def need_state(self) -> None:
        if self.revision < 0:
            raise StoreError("The store holds no parameters yet; put them first.")

    def check(self, owner: int, revision: int) -> None:
        """Refuse a contribution that is unannounced, replayed, twice, or out of order."""
        self.need_state()
        if not 0 <= owner < self.owners:
            raise StoreError(f"Owner {owner} was not announced; this store has owners 0 to {self.owners - 1}.")
        if revision <= self.revision:
            raise StoreError(
                f"An update for revision {revision} came again or too late: revision {self.revision} is committed. Refused as a replay."
            )
        if revision != self.revision + 1:
            raise StoreError(f"An update for revision {revision} came before revision {self.revision + 1}; refused.")
        if owner in self.given:
            raise StoreError(
                f"Owner {owner} has given its update for revision {revision} already; a second one is refused, since a pad is used once."
            )

    def give(self, owner: int, revision: int) -> None:
        """Note a contribution, after the same checks."""
        self.check(owner, revision)
        self.given.add(owner)

    def check_commit(self, revision: int) -> None:
        """Refuse a commit out of order or with an owner missing."""
        self.need_state()
        if revision != self.revision + 1:
            raise StoreError(f"Revision {revision} cannot be committed: the next one is {self.revision + 1}.")
        if missing := sorted(set(range(self.owners)) - self.given):
            names = ", ".join(map(str, missing))
            raise StoreError(
                f"Revision {revision} is not committed: no update from owner{'s' * (len(missing) > 1)} {names} "
                f"({len(self.given)} of {self.owners} are there). The state stays at revision {self.revision}."
            )

    def commit(self, revision: int) -> None:
        self.check_commit(revision)
        self.revision, self.given = revision, set()
