"""What a run's (ε, δ) covers and what it does not, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from privlab.metrics import METRICS, Release
from privlab.runs.record import Run


@dataclass(frozen=True)
class Statement:
    """The privacy claim of a run.

    Attributes:
        holds: whether a finite (ε, δ) is claimed.
        headline: the claim in one sentence.
        details: what it covers, what it does not, and under which assumptions.
    """

    holds: bool
    headline: str
    details: tuple[str, ...]


def statement(run: Run) -> Statement:
    """The claim as of the run's last point: ε counts the steps done, not those planned."""
    plan, reproducible = run.plan, run.config.privacy.randomness == "reproducible"
    if not plan.is_private:
        lacking = "the gradients are not clipped" if plan.max_grad_norm is None else "no noise is added (σ = 0)"
        return Statement(
            False,
            "No privacy guarantee: ε = ∞.",
            (f"Because {lacking}, the parameters can reveal any training record.",),
        )
    so_far = f"after step {run.step:,} of {run.steps:,}"
    if run.epsilon is None:
        spent = f"Nothing is released yet {so_far}." if run.step == 0 else f"No finite ε is known {so_far}."
        headline = f"(ε, δ)-differential privacy at δ = {plan.delta:g}. {spent}"
    else:
        headline = f"ε = {run.epsilon:.4g} at δ = {plan.delta:g}, {so_far}."
    if reproducible:
        return Statement(
            False,
            f"Reproducible, not private. Fresh randomness would give {headline}",
            (
                f"Noise and batches follow from the known seed {run.config.training.seed}: who knows the seed can subtract "
                "the noise. Use such a run to compare and to teach, never to protect records.",
            ),
        )
    return Statement(True, headline, (*_covered(run), *_assumptions(run)))


def _covered(run: Run) -> tuple[str, ...]:
    shown = {release: [m.label.lower() for m in METRICS.values() if m.release is release] for release in Release}
    private = [label for label in shown[Release.PRIVATE] if not label.startswith("gradient norm")]
    return (
        f"What is protected: whether any one of the {run.plan.records:,} training records took part "
        "(records are added or removed one at a time).",
        "Covered: the parameters after every step, and all that is computed from them and from public data, "
        "such as the saved weights and the accuracy and loss on the test records.",
        f"Not covered, do not publish: gradient norms, {', '.join(private)}; and timings.",
        "Not counted: other runs on the same records, and choosing the best among them. Each run spends its own ε.",
    )


def _assumptions(run: Run) -> tuple[str, ...]:
    plan = run.plan
    return (
        f"Counted with the {plan.accountant.upper()} accountant for {run.step:,} steps of Poisson sampling with "
        f"q = {plan.sample_rate:.5g} and Gaussian noise with σ = {plan.noise_multiplier:.5g}.",
        "The noise comes from a generator that is not cryptographic, seeded with the operating system's entropy, and is "
        "computed in floating point. That is sound against who sees the results, not against who breaks the generator.",
    )
