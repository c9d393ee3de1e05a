"""Which runs are missing before two groups can be told apart."""

from __future__ import annotations

from itertools import chain, count, islice

from privlab.analysis.facts import Facts
from privlab.analysis.seeds import Group
from privlab.config import RunConfig


def missing_repeats(a: Group, b: Group, more: int) -> list[RunConfig]:
    """Settings of the runs after which each side has ``more`` repeats beyond what the smaller side has now.

    Each side first gets seeds of the other, so that they can be paired, then seeds that neither has, the same for both. A side that
    is ahead gets fewer; one whose settings are not known (a publication) none.

    Raises:
        ValueError: ``more`` below 1.
    """
    if more < 1:
        raise ValueError(f"more={more} must be at least 1.")
    wanted = min(a.n, b.n) + more
    held = {run.seed for run in (*a.runs, *b.runs) if run.seed is not None}
    return [
        config.replace(training__seed=seed)
        for group, other in ((a, b), (b, a))
        if (config := group.first.config) is not None
        for seed in _seeds(group.runs, other.runs, max(held, default=-1) + 1, wanted - group.n)
    ]


def _seeds(own: tuple[Facts, ...], others: tuple[Facts, ...], fresh: int, many: int) -> list[int]:
    have = {run.seed for run in own}
    shared = sorted({run.seed for run in others if run.seed is not None} - have)
    return list(islice(chain(shared, count(fresh)), max(0, many)))
