"""The full statement of a claim, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privlab.config import DataConfig
from privlab.config.schedule import Schedule
from privlab.data.catalogue import RECORDS_OF_A_USER
from privlab.data.own import is_own
from privlab.data.weights import WEIGHTS
from privlab.metrics import METRICS, Release
from privlab.models.catalogue import MODELS
from privlab.privacy.pair import neighbours
from privlab.privacy.plan import PrivacyPlan
from privlab.reports.claim.facts import installed, newest, rounded_up
from privlab.runs.ledger import Ledger
from privlab.runs.record import Run, RunEvent


@dataclass(frozen=True)
class Field:
    """One line of the statement: a stable ``key``, what it is called, what it says, and what that means."""

    key: str
    label: str
    value: str
    help: str = ""


def statement(run: Run, events: Sequence[RunEvent], ledger: Ledger | None, *, void: bool) -> tuple[Field, ...]:
    """Every field, in the order in which people read them.

    Args:
        events, ledger: as for :func:`privlab.reports.claim.claim`.
        void: nothing may be claimed.
    """
    plan, settings = run.plan, run.config
    guarantee = "none" if void else f"({rounded_up(run.epsilon)}, {plan.delta:g})-differential privacy"
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
    checked = newest(events, "sensitivity")
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
        Field("versions", "Versions", newest(events, "versions") or installed()),
        Field("opinions", "Second opinions", _opinions(newest(events, "opinions")), "Other accountants, same plan."),
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


def _trained(run: Run) -> str:
    return f"elsewhere, as run {run.origin}, and imported" if run.is_imported else f"by PrivLab, as run {run.id}"


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
        return _own_start(model, newest(events, "weights"))
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
