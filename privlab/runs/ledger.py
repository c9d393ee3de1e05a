"""What all runs together have taken from the privacy of one data set, and whether its records are public anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

from privlab.privacy.accounting import LEAST_DELTA, curve_of
from privlab.privacy.pair import Adjacency, Unit
from privlab.privacy.phases import Phase, Phases, total_steps
from privlab.privacy.selection import naive_epsilon, selection_epsilon
from privlab.runs.record import Spent
from privlab.runs.store import Store

_PUBLIC = "public_datasets"


@dataclass(frozen=True)
class Ledger:
    """Every run that released something about one data set.

    Attributes:
        dataset: its key in the catalogue.
        public: whether a person marked its records as public, so that there is nothing to protect.
        private: runs with a finite ε, oldest first.
        unprotected: runs without a guarantee (no noise, no clipping, a known seed, or a void claim).
        delta: δ at which all is told, the smallest of the runs'.
        adjacency: ``replace-one`` if one of the runs claims it or their units differ, else ``add-or-remove-one``.
        unit: ``user`` if all of ``private`` protect users, else ``record``.

    Every ε is computed when it is first asked for, some 0.1 s a run, and kept as long as the process lives.
    """

    dataset: str
    public: bool
    private: tuple[Spent, ...]
    unprotected: tuple[Spent, ...]
    delta: float | None
    adjacency: Adjacency
    unit: Unit

    @cached_property
    def alone(self) -> tuple[float, ...]:
        """ε of each of ``private`` by itself, at ``delta`` and ``adjacency``."""
        return tuple(self._together((each,)) for each in self.private)

    @cached_property
    def cumulative(self) -> tuple[float, ...]:
        """ε of publishing everything from the first run to this one, for each of ``private``."""
        if any(any(each.plan.slack) for each in self.private):
            # What rounding costs changes the δ that is left, prefix by prefix.
            return tuple(self._together(self.private[: place + 1]) for place in range(len(self.private)))
        return _along(tuple(_done(each) for each in self.private), self.delta, self.adjacency)

    @property
    def runs(self) -> int:
        return len(self.private) + len(self.unprotected)

    @property
    def private_runs_epsilon(self) -> float:
        """ε of publishing everything from the runs that have a guarantee; 0 for none."""
        return self._together(self.private)

    @property
    def epsilon(self) -> float:
        """ε of publishing everything from all runs: inf as soon as one has no guarantee."""
        return math.inf if self.unprotected else self.private_runs_epsilon

    def others(self, run_id: str) -> int:
        """How many other runs released something about these records."""
        return sum(each.run_id != run_id for each in (*self.private, *self.unprotected))

    def _together(self, runs: tuple[Spent, ...]) -> float:
        """ε of everything that ``runs`` released."""
        if not runs:
            return 0.0
        return _composed(tuple((_done(each), each.plan.slack) for each in runs), self.delta, self.adjacency)


def ledger(store: Store, dataset: str) -> Ledger:
    """The ledger of ``dataset``, from every run that the store knows or remembers."""
    return ledger_of(dataset, store.spent(dataset), public=is_public(store, dataset))


def ledgers(store: Store) -> list[Ledger]:
    """The ledgers of all data sets that a run touched, by name."""
    by_dataset: dict[str, list[Spent]] = {}
    for each in store.spent():
        by_dataset.setdefault(each.dataset, []).append(each)
    return [ledger_of(key, runs, public=is_public(store, key)) for key, runs in sorted(by_dataset.items())]


def ledger_of(dataset: str, runs: Sequence[Spent], *, public: bool = False) -> Ledger:
    """The ledger of ``runs``, which are all on ``dataset``.

    Composing the steps of all runs bounds what all their releases tell together, also where each run used the results of
    earlier ones in its training. That *which* runs there are was not chosen by earlier results is assumed
    (:func:`privlab.privacy.selection.naive_epsilon`).
    """
    private = tuple(each for each in runs if each.is_private)
    unprotected = tuple(each for each in runs if not each.is_private)
    delta = min((each.plan.delta for each in private), default=None)
    # A record that is added to a user's changes the user into another, and does not add one.
    units = {each.plan.unit for each in private}
    replaced = len(units) > 1 or any(each.plan.adjacency == "replace-one" for each in private)
    adjacency = "replace-one" if replaced else "add-or-remove-one"
    unit = "user" if units == {"user"} else "record"
    return Ledger(dataset, public, private, unprotected, delta, adjacency, unit)


@lru_cache(maxsize=64)
def _along(runs: tuple[Phases, ...], delta: float, adjacency: Adjacency) -> tuple[float, ...]:
    """ε after each of ``runs``, in one pass: each by itself, forty runs took half a minute."""
    ends = tuple(accumulate(total_steps(phases) for phases in runs))
    return tuple(curve_of((phase for phases in runs for phase in phases), ends, delta, adjacency=adjacency).tolist())


@lru_cache(maxsize=1024)
def _composed(runs: tuple[tuple[Phases, tuple[float, float]], ...], delta: float, adjacency: Adjacency) -> float:
    """ε of all phases of ``runs``; what rounding costs each (ε and δ) is added up."""
    extra, less = (sum(slack[side] for _, slack in runs) for side in (0, 1))
    if delta - less < LEAST_DELTA:
        return math.inf
    return naive_epsilon((phases for phases, _ in runs), delta - less, adjacency=adjacency) + extra


def _done(each: Spent) -> Phases:
    return each.plan.phases_until(each.step)


def best_of(found: Ledger, distribution: str) -> float | None:
    """ε of publishing only the best of the private runs, **if** their number had been drawn at random from
    ``distribution`` (``logarithmic`` or ``geometric``, mean: as many as there are) before the first one.

    Each run is counted as costing no more than one with the highest sampling rate, the least noise and the most steps of
    any. None where the theorem does not apply, see :func:`no_best`.
    """
    if no_best(found) is not None:
        return None
    return _best(tuple(_done(each) for each in found.private), found.delta, distribution)


def no_best(found: Ledger) -> str | None:
    """Why :func:`best_of` has no answer, as the rest of a sentence; None where it has one."""
    if found.unprotected or not found.private:
        return "it needs a guarantee from every run, and at least one run"
    if found.adjacency == "replace-one":
        return "its theorem is about one record or user added or removed, and a run protects against a replacement"
    if any(each.plan.rounded for each in found.private):
        return "its theorem is not worked out for rounded noise, which a run has"
    return None


@lru_cache(maxsize=256)
def _best(runs: tuple[Phases, ...], delta: float, distribution: str) -> float:
    phases = [phase for run in runs for phase in run]
    worst = Phase(
        max(phase.sample_rate for phase in phases),
        min(phase.noise_multiplier for phase in phases),
        max(total_steps(run) for run in runs),
    )
    return selection_epsilon((worst,), delta, max(1, len(runs)), distribution)


def is_public(store: Store, dataset: str) -> bool:
    """Whether a person marked the records of ``dataset`` as public. Until then they count as private."""
    return dataset in store.setting(_PUBLIC, [])


def set_public(store: Store, dataset: str, public: bool) -> None:
    """Mark the records of ``dataset`` as public or private."""
    marked = set(store.setting(_PUBLIC, []))
    store.set_setting(_PUBLIC, sorted(marked | {dataset} if public else marked - {dataset}))
