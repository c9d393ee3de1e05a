"""The claim card of a run: whether its (ε, δ) holds, why, and the full statement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any, Literal

from privlab import __version__
from privlab.config import DataConfig
from privlab.config.schedule import Schedule
from privlab.data.catalogue import RECORDS_OF_A_USER
from privlab.data.own import is_own
from privlab.data.weights import WEIGHTS
from privlab.metrics import METRICS, Release, show_epsilon
from privlab.models.catalogue import MODELS
from privlab.privacy.owners import epsilon_against, epsilon_alone
from privlab.privacy.pair import neighbours
from privlab.privacy.plan import PrivacyPlan
from privlab.privacy.planning import logged_steps
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent, Status

Verdict = Literal["valid", "conditional", "void"]


@dataclass(frozen=True)
class Field:
    """One line of the statement: a stable ``key``, what it is called, what it says, and what that means."""

    key: str
    label: str
    value: str
    help: str = ""


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
    void, conditions = _void(run, events), _conditions(run, events, ledger)
    verdict: Verdict = "void" if void else "conditional" if conditions else "valid"
    return Claim(
        run.id,
        verdict,
        _headline(run, bool(void)),
        void or conditions,
        None if void else run.epsilon,
        run.plan.delta,
        _fields(run, events, ledger, void=bool(void)),
    )


def _void(run: Run, events: Sequence[RunEvent]) -> tuple[str, ...]:
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
    if broken := _newest(events, "void"):
        found.append(f"{broken} Do not publish anything of this run; report the error.")
    if plan.is_private and (run.step < 1 or run.epsilon is None or not math.isfinite(run.epsilon)):
        ended = run.status in (Status.FAILED, Status.STOPPED)
        found.append(
            f"Nothing was released: the run {run.status.value} before its first point. Resume it or launch it again."
            if ended
            else "Nothing is released yet, so there is nothing to claim. Wait for the first point."
        )
    return tuple(found)


def _conditions(run: Run, events: Sequence[RunEvent], ledger: Ledger | None) -> tuple[str, ...]:
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
    if _newest(events, "sensitivity") is None:
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
    for flag in (_newest(events, "opinions") or {}).get("flags", ()):
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


def _rounded_up(epsilon: float) -> str:
    """Six significant digits that are never below ``epsilon``."""
    exact = Decimal(epsilon)
    return f"{float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 5), ROUND_CEILING)):.6g}"


def _spent(ledger: Ledger) -> str:
    return show_epsilon(ledger.epsilon) + ("" if math.isinf(ledger.epsilon) else f" at δ = {ledger.delta:g}")


def _newest(events: Sequence[RunEvent], key: str) -> Any:
    return next((event.data[key] for event in reversed(events) if key in event.data), None)


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


def _fields(run: Run, events: Sequence[RunEvent], ledger: Ledger | None, *, void: bool) -> tuple[Field, ...]:
    plan, settings = run.plan, run.config
    guarantee = "none" if void else f"({_rounded_up(run.epsilon)}, {plan.delta:g})-differential privacy"
    each = plan.unit
    sampled = f"each {each} joins a batch by its own coin flip, q = B/N = {plan.batch_size:,}/{plan.records:,}"
    if each == "user":
        sampled += f", with at most {settings.data.user_records} of their records"
    counted = "Poisson sampling, the same as used"
    if plan.bands > 1:
        sampled = (
            f"the {each}s are in {plan.bands} parts, batches come from them in turn, each {each} by its own coin flip"
        )
        counted = f"Poisson sampling with {plan.bands}·q at every {plan.bands}th step"
    if plan.shuffled:
        sampled = f"every {each} once an epoch in random order, {plan.batch_size:,} at a time"
        counted = "none: shuffled batches are not accounted for"
    checked = _newest(events, "sensitivity")
    return (
        Field("guarantee", "Guarantee", guarantee, "For what is released up to the last point."),
        Field(
            "adjacency",
            "Neighbouring data sets",
            neighbours(plan.adjacency, plan.unit),
            "What an attacker must not be able to tell apart.",
        ),
        Field("trained", "Trained", _trained(run), "Nothing here saw an imported run train."),
        Field("unit", "Unit of privacy", *_UNITS[plan.unit]),
        Field("records", f"{each.capitalize()}s N", f"{plan.records:,}{_planted(settings.data)}", "Treated as public."),
        Field("start", "Start", _start(settings.model.name, events), "What was known before the first step."),
        Field("owners", "Data owners", _owners(run), "Who holds records, clips them and adds noise."),
        Field("sampler_used", "Sampler used", sampled),
        Field("sampler_accounted", "Sampler accounted", counted),
        Field("sample_rate", "Sampling rate q", f"{plan.sample_rate:.6g}"),
        Field("noise_multiplier", "Noise multiplier σ", _scheduled(plan.noise_multiplier, plan.noise_schedule)),
        Field("steps", "Steps T", f"{run.step:,} done of {run.steps:,} planned", "ε counts the steps done."),
        Field("max_grad_norm", "Clipping bound C", _clipping(plan)),
        Field("delta", "δ", f"{plan.delta:g}", "The chance beyond which ε may fail; far below 1/N."),
        Field("accountant", "Accountant", plan.accountant.upper()),
        Field("versions", "Versions", _newest(events, "versions") or _installed()),
        Field("opinions", "Second opinions", _opinions(_newest(events, "opinions")), "Other accountants, same plan."),
        Field(
            "self_check",
            "Self-check",
            "not on record" if checked is None else f"passed, largest effect {checked:.3f} C",
        ),
        Field("tuning", "Tuning", _tuning(run, ledger), "Choosing the best of many runs costs privacy too."),
        Field("randomness", "Random numbers", _RANDOMNESS[settings.privacy.randomness]),
        Field("protection", "Floating-point protection", _protection(plan)),
        Field("correlation", "Noise correlation", _correlation(plan)),
        Field("augmentations", "Augmentations", _augmentations(settings.training.augmentations)),
        Field("released", "Released", "none of it is covered" if void else _RELEASED),
        Field("not_covered", "Not covered", _uncovered()),
    )


#: What a unit is, and what it leaves out.
_UNITS = {
    "record": ("one training record", "A person with several records is protected less."),
    "user": (
        f"one user: all training records of one person, of which the first {RECORDS_OF_A_USER} are used",
        "Whose a record is was known before and is not checked. What others wrote about a person is not theirs.",
    ),
}
_RANDOMNESS = {
    "private": "stream cipher (AES-256 in counter mode) keyed by the operating system",
    "plain": "batches by the operating system's entropy, noise by PyTorch's generator (not cryptographic)",
    "reproducible": "derived from a known seed: not private",
}
_RELEASED = (
    "the parameters after every step and all that follows from them and from public data, such as the weights and results on "
    "the test records, which are assumed to be public"
)


def _planted(data: DataConfig) -> str:
    if not data.secrets:
        return ""
    made_up = data.secrets * data.secret_repeats
    return (
        f", {made_up:,} of whose records are made-up secrets"
        if data.unit == "user"
        else f", {made_up:,} of them made-up secrets"
    )


def _start(model: str, events: Sequence[RunEvent]) -> str:
    if is_own(model):
        return _own_start(model, _newest(events, "weights"))
    weights = WEIGHTS.get(MODELS[model].weights or "") if model in MODELS else None
    if weights is None:
        return "random weights from a seed"
    return (
        f"public weights: {weights.title}. The records that those were trained on are not covered; if some of these records were "
        "among them, the public weights may tell of those"
    )


def _own_start(model: str, begun: dict | None) -> str:
    """``begun``: what the run said of its weights when it started. A folder's path is nobody else's business."""
    known = ""
    if begun:
        where = f"{begun['source']} at {begun['revision']}" if begun["revision"] else "a folder"
        known = f" (from {where}, SHA-256 {begun['sha256']})"
    return (
        f"weights that somebody added as {model}{known}. What they were trained on is not covered: if some of these records were "
        "among it, the weights and all that is made from them may tell of those, whatever ε is"
    )


def _owners(run: Run) -> str:
    plan, encryption = run.plan, run.config.encryption
    if plan.owners == 1:
        return "one, who sees all records"
    seen = (
        "masks that cancel hide each owner's numbers from the others (who are assumed to follow the protocol), and whoever adds "
        "them up sees ciphertext only"
        if encryption.masks
        else "the store's server adds ciphertexts; owners share its key, so that one of them together with the server reads "
        "another's updates"
    )
    out = f", of whom {plan.dropouts} may drop out of a step" if plan.dropouts else ""
    return (
        f"{plan.owners}{out}, simulated on one machine: each has its own part of the records and adds noise of deviation "
        f"σC/√{plan.fewest_owners} to its own clipped sum; {seen}"
    )


def _against_owners(run: Run) -> str:
    """ε against owners who pool what they know. While a run trains, that of all planned steps: it need be found once only."""
    plan = run.plan
    step = run.step if run.status.is_over and run.step else plan.steps
    # A crash makes a run do at most the steps between two checkpoints again, and owners saw them the first time too.
    marks = (0, *logged_steps(plan.steps, run.config.training.curve_points))
    again = max(0, run.attempt - 1) * max(after - before for before, after in pairwise(marks))
    found = [f"ε = {_bound(epsilon_against(plan, 1, step, again))} against one owner"]
    if plan.owners > 2:
        found.append(f"ε = {_bound(epsilon_against(plan, plan.owners - 1, step, again))} against all others together")
    if not run.config.encryption.masks:
        found.append(
            f"ε = {_bound(epsilon_alone(plan, step, again))} against one owner together with the store's server"
        )
    twice = f" and up to {again:,} steps that were begun again" if again else ""
    return f"{', '.join(found)}, after step {step:,}{twice}"


def _bound(epsilon: float) -> str:
    return _rounded_up(epsilon) if math.isfinite(epsilon) else "∞"


def _scheduled(first: float, schedule: Schedule) -> str:
    if schedule.is_constant:
        return f"{first:.6g}, the same at every step"
    if schedule.kind == "custom":
        marks = "; ".join(f"from step {step:,} {first * factor:.6g}" for step, factor in schedule.custom)
        return f"changing: {marks}"
    return f"from {first:.6g} to {first * schedule.end:.6g} ({schedule.kind})"


def _clipping(plan: PrivacyPlan) -> str:
    if plan.max_grad_norm is None:
        return "none: gradients are not clipped"
    if plan.adaptive:
        return (
            f"adaptive: learnt from {plan.max_grad_norm:g} on, to shorten all but a share of {plan.adaptive.quantile:g}; the "
            f"noisy count (σ_b = {plan.adaptive.count_noise:g}) is part of σ"
        )
    return f"{plan.clipping}, {_scheduled(plan.max_grad_norm, plan.clip_schedule)}"


def _opinions(said: Mapping[str, Any] | None) -> str:
    if not said:
        return "not taken yet"
    names = {"pld_library": "dp-accounting PLD", "rdp": "RDP", "prv": "Opacus PRV"}
    known = [f"{label} {said[key]:.6g}" for key, label in names.items() if said.get(key) is not None]
    return f"for all planned steps: {', '.join(known)}" if known else "none"


def _tuning(run: Run, ledger: Ledger | None) -> str:
    if ledger is None:
        return "other runs on these records are not known here; their cost is not counted"
    if ledger.public:
        return "the records are marked as public"
    others = ledger.others(run.id)
    if not others:
        return "no other run on these records is known here"
    return f"{others} other run{'s' * (others > 1)} on these records; whether this one was chosen is not known, nor counted"


def _protection(plan: PrivacyPlan) -> str:
    if plan.rounded:
        return "sum and noise are whole numbers on a grid; ε counts the rounding"
    return "none: assumed is that nobody sees the exact bits of a single noisy sum"


def _correlation(plan: PrivacyPlan) -> str:
    return "independent at every step" if plan.bands == 1 else f"correlated over {plan.bands} steps (banded matrix)"


def _augmentations(count: int) -> str:
    return "none" if count == 1 else f"{count} views of a record, averaged before clipping: no cost"


def _uncovered() -> str:
    private = ", ".join(metric.label.lower() for metric in METRICS.values() if metric.release is Release.PRIVATE)
    return f"{private}; timings; other runs on the same records, and choosing the best of several"


def _trained(run: Run) -> str:
    return f"elsewhere, as run {run.origin}, and imported" if run.is_imported else f"by PrivLab, as run {run.id}"


def _installed() -> str:
    return ", ".join(f"{name} {number}" for name, number in versions().items())


def versions() -> dict[str, str]:
    """Versions of PrivLab and of the libraries that its guarantee rests on."""
    found = {"PrivLab": __version__}
    for name in ("dp-accounting", "opacus", "torch", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
