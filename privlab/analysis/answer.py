"""What the runs say about a goal, as numbers and in plain sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from privlab.analysis.facts import Facts
from privlab.analysis.pareto import Candidate, Front, best_at
from privlab.analysis.proposals import Proposal
from privlab.analysis.surface import Surface
from privlab.config import RunConfig
from privlab.metrics import METRICS

Word = Literal["predicted", "at most", "out of reach", "cannot say"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the runs say about a goal.

    Attributes:
        word: ``predicted``: ε with its interval. ``at most``: even the smallest ε measured is enough, so the smallest is not
            known. ``out of reach``: more likely than not, no ε up to the largest measured is enough with these settings.
            ``cannot say``.
        metric, value: the goal.
        known: the measured result with the smallest ε that meets the goal (its mean, where it was repeated); None where none
            does.
        chosen: a run of the recipe that is predicted to need least; None for ``cannot say``.
        config: its settings aimed at ``epsilon``; None where none is predicted.
        epsilon: median of the smallest ε with which the **mean over seeds** meets the goal; NaN where not predicted.
        low, high: 90 % interval of it. ``high`` is inf where the runs do not bound it, ``low`` the smallest ε measured at
            least.
        chance: that the goal is met by the mean over seeds within the ε measured.
        one_run: chance that a single run at ``epsilon`` meets it: about one half by construction; aim higher to be safe.
        safe: ε at which a single run meets it with 90 %; inf where no ε measured is.
        coverage, checked: share of left-out results within their 90 % interval, and how many were left out.
        missing: runs to launch next, most telling first.
        why: all of it in plain sentences.
    """

    word: Word
    metric: str
    value: float
    known: Candidate | None = None
    chosen: Facts | None = None
    config: RunConfig | None = None
    epsilon: float = math.nan
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan
    one_run: float = math.nan
    safe: float = math.nan
    coverage: float = math.nan
    checked: int = 0
    missing: tuple[Proposal, ...] = ()
    why: tuple[str, ...] = ()


def known_words(known: Candidate | None, front: Front, value: float) -> tuple[str, ...]:
    """What was measured already, without any prediction."""
    told, found = METRICS[front.metric], []
    if known:
        once = "a single run; another seed may miss it" if known.n == 1 else f"mean of {known.n} seeds"
        found.append(
            f"Reached already: {known.label} with {told.show(known.value)} at ε = {known.epsilon:.4g} ({once})."
        )
    else:
        best = best_at(front, 1e9)
        if best:
            found.append(f"Best so far: {best.label} with {told.show(best.value)} at ε = {best.epsilon:.4g}.")
    sign = 1 if told.better == "up" else -1
    if not known and front.without and sign * front.without[0].value < sign * value:
        found.append(f"Even without a guarantee no run got further than {told.show(front.without[0].value)}.")
    if front.caution:
        found.append(front.caution)
    return tuple(found)


def prediction_words(answer: Answer, largest: float, farthest: float) -> tuple[str, ...]:
    """What is predicted.

    Args:
        largest: ε measured.
        farthest: what the settings are expected to give there, in the metric's unit.
    """
    told, called = METRICS[answer.metric], answer.chosen.called
    if answer.word == "out of reach":
        lead = "Reached, but not to be relied on" if answer.known else "Out of reach"
        return (
            f"{lead}, as far as these runs say: up to ε = {largest:.3g} the chance of {told.show(answer.value)} on average over "
            f"seeds is {100 * answer.chance:.0f} %; {called}'s settings are expected to end at {told.show(farthest)}.",
        )
    to = f"to {answer.high:.3g}" if math.isfinite(answer.high) else "upwards without a bound"
    return (
        f"At most ε = {answer.epsilon:.3g}: the smallest ε measured is enough already; how much less would do is not known."
        if answer.word == "at most"
        else f"ε = {answer.epsilon:.3g} (90 % interval {answer.low:.3g} {to}) is expected to give {told.show(answer.value)} on "
        f"average over seeds, with {called}'s settings.",
        f"To get it in a single run with chance 90 %, aim at ε = {answer.safe:.3g}."
        if math.isfinite(answer.safe)
        else "No ε measured gives it in a single run with chance 90 %.",
    )


def trust_words(surface: Surface) -> str:
    """How far the surface was checked."""
    widened = f", after widening all intervals {surface.widening:.1f} times." if surface.widening > 1.05 else "."
    return (
        f"Checked by leaving results out: {100 * surface.coverage:.0f} % of {surface.checked} lay within their 90 % interval"
        + widened
    )
