"""What a run and its events say of its guarantee, before any words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any

from privlab import __version__
from privlab.privacy.owners import epsilon_against, epsilon_alone
from privlab.privacy.planning import logged_steps
from privlab.runs.record import Run, RunEvent


def newest(events: Sequence[RunEvent], key: str) -> Any:
    """What the newest event that has ``key`` says of it; None where none does."""
    return next((event.data[key] for event in reversed(events) if key in event.data), None)


@dataclass(frozen=True)
class AgainstOwners:
    """ε of a run with several data owners against those who pool what they know.

    Attributes:
        step: the steps that it counts.
        again: steps at most that crashes made the owners see twice; counted too.
        one: against one owner.
        others: against all others together; None where there are two owners, so that it is the same.
        with_server: against one owner together with the store's server; None where masks hide from both what another sent.
    """

    step: int
    again: int
    one: float
    others: float | None
    with_server: float | None


def against_owners(run: Run) -> AgainstOwners:
    """While a run trains, that of all planned steps: it need be found once only."""
    plan = run.plan
    step = run.step if run.status.is_over and run.step else plan.steps
    # A crash makes a run do at most the steps between two checkpoints again, and owners saw them the first time too.
    marks = (0, *logged_steps(plan.steps, run.config.training.curve_points))
    again = max(0, run.attempt - 1) * max(after - before for before, after in pairwise(marks))
    return AgainstOwners(
        step,
        again,
        epsilon_against(plan, 1, step, again),
        epsilon_against(plan, plan.owners - 1, step, again) if plan.owners > 2 else None,
        None if run.config.encryption.masks else epsilon_alone(plan, step, again),
    )


def rounded_up(epsilon: float) -> str:
    """Six significant digits that are never below ``epsilon``; ∞ where it has no bound."""
    if math.isinf(epsilon):
        return "∞"
    exact = Decimal(epsilon)
    return f"{float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 5), ROUND_CEILING)):.6g}"


def installed() -> str:
    """Versions of PrivLab and of the libraries that its guarantee rests on."""
    found = [f"PrivLab {__version__}"]
    for name in ("dp-accounting", "opacus", "torch", "numpy", "scipy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)
