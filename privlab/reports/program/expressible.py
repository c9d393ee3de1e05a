"""Which runs plain Opacus can repeat, and why it cannot repeat the others."""

from __future__ import annotations

from collections.abc import Sequence

from privlab.config.sections import PARTLY_TRAINED
from privlab.models.catalogue import MODELS
from privlab.reports.program.networks import NETWORKS
from privlab.runs.record import Run, RunEvent

#: Parts of a transformer that train by ``requires_grad`` alone.
_PARTS = ("all", "last", "bias", "head")


def part_trained(run: Run) -> str:
    """What trains of the run's model: ``auto`` is the model's usual part. Raises KeyError: unknown model."""
    model = run.config.model
    return MODELS[model.name].trains[0] if model.trains == "auto" else model.trains


def not_expressible(run: Run, events: Sequence[RunEvent] = ()) -> tuple[str, ...]:
    """Why no script with plain Opacus does what ``run`` did, each reason naming its setting; empty where one does.

    Args:
        events: of the run; a mechanism that was found broken is among them.
    """
    config, plan = run.config, run.plan
    encryption = config.encryption
    found = []
    if any("void" in event.data for event in events):
        found.append("The run's mechanism was found not to be what its plan says, so there is no result to repeat.")
    if run.step < 1:
        found.append("The run has no point yet, so there is no result to repeat.")
    if plan.bands > 1:
        found.append(
            f"bands={plan.bands}: Opacus draws each step's noise afresh; it has no noise that is correlated over steps."
        )
    if plan.adaptive:
        found.append(
            "clipping=adaptive: Opacus's own adaptive clipping divides its noisy count by the number of records really drawn, "
            "which the run's ε does not cover."
        )
    if plan.rounded:
        found.append("protection=rounded: Opacus adds its noise in floating point.")
    if plan.unit != "record":
        found.append(f"unit={plan.unit}: Opacus clips each record by itself, not a user's records together.")
    if encryption.is_store:
        found.append(f"encryption.mode={encryption.mode}: Opacus keeps no parameters as ciphertext in a store.")
    if plan.owners > 1:
        found.append(
            f"owners={plan.owners}: Opacus has one holder of all records, not several who add shares of noise."
        )
    if config.training.augmentations > 1:
        found.append(
            f"augmentations={config.training.augmentations}: Opacus clips each view of a record by itself, not the mean "
            "over a record's views."
        )
    if config.model.name not in NETWORKS:
        found.append(
            f"model.name={config.model.name}: it starts from fetched weights, which a script without PrivLab does not have."
        )
    elif config.model.name in PARTLY_TRAINED and part_trained(run) not in _PARTS:
        found.append(f"model.trains={part_trained(run)}: the adapters are no part of plain PyTorch.")
    if plan.is_private and not run.epsilon:
        found.append("The run claims no ε that a script could be held to.")
    return tuple(found)
