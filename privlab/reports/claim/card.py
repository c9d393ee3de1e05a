"""The claim card of a run: whether its (ε, δ) holds, why, and the full statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from privlab.reports.claim.reasons import conditions, void_reasons
from privlab.reports.claim.statement import Field, statement
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent

Verdict = Literal["valid", "conditional", "void"]


@dataclass(frozen=True)
class Claim:
    """What may be said about the privacy of a run's results.

    Attributes:
        verdict: ``valid``; ``conditional``, where it holds under the conditions of ``reasons``; ``void``, where nothing is
            claimed.
        headline: the claim in one sentence.
        reasons: why it is not valid, each with what to do; empty for ``valid``.
        epsilon: ε at ``delta``; None where nothing is claimed.
        fields: the full statement, in order.
    """

    run: str
    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    epsilon: float | None
    delta: float
    fields: tuple[Field, ...]


def claim(run: Run, events: Sequence[RunEvent] = (), ledger: Ledger | None = None) -> Claim:
    """The claim as of the run's last point: ε counts the steps done, not those planned.

    Floating-point noise without protection is stated as an assumption and no condition: the attack on it needs the exact
    bits of single noisy sums, while a run releases parameters that many of them were added up in. It is on the card.

    Args:
        events: all of the run, oldest first; the self-check and the second opinions are read from them.
        ledger: of the run's data set, after it; None where other runs are not known.
    """
    void, under = void_reasons(run, events), conditions(run, events, ledger)
    verdict: Verdict = "void" if void else "conditional" if under else "valid"
    return Claim(
        run.id,
        verdict,
        _headline(run, bool(void)),
        void or under,
        None if void else run.epsilon,
        run.plan.delta,
        statement(run, events, ledger, void=bool(void)),
    )


def _headline(run: Run, void: bool) -> str:
    plan = run.plan
    if not plan.is_private:
        return "No privacy guarantee: ε = ∞."
    if run.epsilon is None or run.step < 1:
        return f"Nothing is released yet, after step {run.step:,} of {run.steps:,}."
    reached = f"ε = {run.epsilon:.4g} at δ = {plan.delta:g}, after step {run.step:,} of {run.steps:,}."
    if run.config.privacy.randomness == "reproducible":
        return f"Reproducible, not private. Fresh randomness would give {reached}"
    if plan.owners > 1:
        reached = f"{reached[:-1]}, against everybody who is no owner."
    return f"No guarantee is claimed. The plan would have given {reached}" if void else reached
