"""What stands against the claim of a run: why nothing may be claimed, or what it rests on, each with what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from privlab.data.own import is_own
from privlab.metrics import show_epsilon
from privlab.reports.claim.facts import against_owners, newest, rounded_up
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent, Status


def void_reasons(run: Run, events: Sequence[RunEvent]) -> tuple[str, ...]:
    """Why nothing may be claimed; empty where something may."""
    plan, found = run.plan, []
    if plan.max_grad_norm is None:
        found.append(
            "The gradients are not clipped, so one record can move the parameters by any amount. Choose a way of clipping."
        )
    if plan.noise_multiplier <= 0:
        found.append(
            "No noise is added (σ = 0), so the parameters can reveal any training record. Choose a noise multiplier or a "
            "target ε."
        )
    if plan.shuffled:
        found.append(
            "Batches are shuffled, which no accountant here counts. Choose coin flips (Poisson) for a guarantee."
        )
    if run.config.privacy.randomness == "reproducible":
        found.append(
            f"Noise and batches follow from the known seed {run.config.training.seed}: who knows the seed can subtract the "
            "noise. Use such a run to compare and to teach; train again with private randomness to protect records."
        )
    if broken := newest(events, "void"):
        found.append(f"{broken} Do not publish anything of this run; report the error.")
    if plan.is_private and (run.step < 1 or run.epsilon is None or not math.isfinite(run.epsilon)):
        ended = run.status in (Status.FAILED, Status.STOPPED)
        found.append(
            f"Nothing was released: the run {run.status.value} before its first point. Resume it or launch it again."
            if ended
            else "Nothing is released yet, so there is nothing to claim. Wait for the first point."
        )
    return tuple(found)


def conditions(run: Run, events: Sequence[RunEvent], ledger: Ledger | None) -> tuple[str, ...]:
    """What the claim rests on beyond the mechanism itself, and could be false of; empty for a valid one."""
    found = []
    if run.is_imported:
        found.append(
            "It was trained elsewhere and imported: its files, settings and ε fit together, but nothing here saw it train. The "
            "claim holds if whoever made its bundle tells the truth."
        )
    if run.config.privacy.randomness == "plain":
        found.append(
            "The noise comes from PyTorch's generator, which is not cryptographic: the claim holds if nobody can work out "
            "its state from what is published. Choose private randomness to drop this condition."
        )
    if run.plan.owners > 1 and run.plan.is_private:
        found.append(
            f"It holds against everybody who is none of the {run.plan.owners} data owners. An owner knows its own share of the "
            f"noise, so for the other owners' records {_against_owners(run)}. Add noise to lower these."
        )
    if newest(events, "sensitivity") is None:
        found.append(
            "No passed self-check of clip and noise is on record. The claim holds if the mechanism does what its plan says; "
            "train again to have it checked."
        )
    others = ledger.others(run.id) if ledger else 0
    if ledger and others and not ledger.public:
        # While the run trains the sum changes with every point and would be worked out anew for each look at the card.
        together = f"all together cost {_spent(ledger)}" if run.status.is_over else "all together cost more"
        found.append(
            f"{others} other run{'s' * (others > 1)} used the same records. This ε holds for this run alone, if neither "
            f"its settings nor its choice came from the others' results; {together}. See the Ledger, or "
            "mark the data set public there if its records are."
        )
    for flag in (newest(events, "opinions") or {}).get("flags", ()):
        found.append(f"The accountants do not fit together: {flag} Prefer the largest ε.")
    if any(event.kind == "noise-raised" for event in events):
        found.append(
            "σ was raised during the run. The claim holds if that was decided without a look at private diagnostics "
            "(such as gradient norms); ε counts each step with its own σ."
        )
    # ε at a step that the results themselves chose is no bound (Rogers, Roth, Ullman, Vadhan 2016, arXiv:1605.08294).
    if run.status is Status.STOPPED and run.step < run.steps:
        found.append(
            f"A person stopped the run before its last step. This ε holds if that was not decided by what the run had "
            f"shown; ε = {run.plan.epsilon:.4g} of all {run.steps:,} planned steps holds if the results decided it, "
            "private diagnostics apart."
        )
    if is_own(run.config.model.name):
        found.append(
            "The run began from weights that somebody added. The claim takes them to be public and to have learnt nothing from these "
            "records."
        )
    if any(event.kind == "extended" for event in events):
        found.append(
            "The run was made longer on the way. The claim holds if that was not decided by what it had shown; launch a "
            "run of that length, or train to a limit on ε, to drop this condition."
        )
    if run.status is Status.FAILED:
        found.append(
            f"The run ended with an error: {run.error or 'unknown.'} The claim covers what was released up to step "
            f"{run.step:,}; resume the run, or train again."
        )
    return tuple(found)


def _against_owners(run: Run) -> str:
    known = against_owners(run)
    found = [f"ε = {rounded_up(known.one)} against one owner"]
    if known.others is not None:
        found.append(f"ε = {rounded_up(known.others)} against all others together")
    if known.with_server is not None:
        found.append(f"ε = {rounded_up(known.with_server)} against one owner together with the store's server")
    twice = f" and up to {known.again:,} steps that were begun again" if known.again else ""
    return f"{', '.join(found)}, after step {known.step:,}{twice}"


def _spent(ledger: Ledger) -> str:
    return show_epsilon(ledger.epsilon) + ("" if math.isinf(ledger.epsilon) else f" at δ = {ledger.delta:g}")
