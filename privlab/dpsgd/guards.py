"""What would silently void the guarantee is refused here, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from opacus.grad_sample import GradSampleModule
from opacus.utils.module_utils import trainable_modules
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from privlab.privacy.plan import PrivacyPlan


class MechanismError(RuntimeError):
    """The private step is not what the plan says, in plain words. No training may go on."""


def opacus_knows(layer: nn.Module) -> bool:
    """Whether Opacus has a per-sample gradient for layers of this very type."""
    return type(layer) in GradSampleModule.GRAD_SAMPLERS


def _nothing(layer: nn.Module) -> list:
    return []


def refuse_unsupported(
    model: nn.Module,
    *,
    knows: Callable[[nn.Module], bool] = opacus_knows,
    misfit: Callable[[nn.Module], str | None] = lambda layer: None,
    shared: bool = True,
) -> None:
    """Refuse layers for which a record's own gradient does not exist or is not known exactly.

    Args:
        knows: whether there is an exact per-sample rule for a layer that owns trained parameters.
        misfit: why a layer has no gradient of one record as it is set, or None.
        shared: whether parameters may be shared; False where norms of each use are summed, which under-clips.

    Raises:
        MechanismError: BatchNorm of any kind (frozen too: it mixes the records of a batch), layers that Opacus refuses,
            layers that own trained parameters and have no exact per-sample rule, misfits, shared parameters, or nothing to
            train.
    """
    for name, layer in model.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _BatchNorm):
            raise MechanismError(
                f"Layer “{name}” ({kind}) mixes the records of a batch, so no record has a gradient of its own; use GroupNorm."
            )
        if reason := misfit(layer):
            raise MechanismError(f"Layer “{name}” ({kind}): {reason}.")
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
        if own and not knows(layer):
            raise MechanismError(f"Layer “{name}” ({kind}) has no exact rule for per-sample gradients.")
        if own and any(True for _ in layer.buffers(recurse=False)):
            raise MechanismError(
                f"Layer “{name}” ({kind}) keeps running statistics of the records, which are not private."
            )
    model.train()
    for _, layer in trainable_modules(model):
        # Opacus need not know how to do what we do exactly.
        if opacus_knows(layer) or not knows(layer):
            for problem in ModuleValidator.VALIDATORS.get(type(layer), _nothing)(layer):
                raise MechanismError(f"Opacus refuses the model: {problem}")
    named = [(name, p) for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    if not named:
        raise MechanismError("The model has no trainable parameters.")
    uses = Counter(id(p) for _, p in named)
    several = [name for name, p in named if uses[id(p)] > 1]
    if several and not shared:
        raise MechanismError(
            f"Parameters {', '.join(several)} are shared; ghost clipping would under-clip them. Use one-pass."
        )


def refuse_mixed(found: Mapping[str, int], rows: int) -> None:
    """Refuse gradients that Opacus's hooks found for other rows than those of the records.

    An embedding of places that is called once for all records gets one row for each place: there is no record's own.

    Args:
        found: how many rows each trained parameter got, by name.
        rows: how many there are.

    Raises:
        MechanismError: names the parameters.
    """
    mixed = [name for name, count in found.items() if count != rows]
    if mixed:
        raise MechanismError(
            f"Parameters {', '.join(mixed)} got {found[mixed[0]]} rows for {rows} records, so Opacus's hooks find no record's own "
            "gradient. Use one-pass."
        )


def refuse_unsound(plan: PrivacyPlan) -> None:
    """Refuse plans for which there is no sound step. Raises MechanismError."""
    if (plan.clipping == "adaptive") != (plan.adaptive is not None):
        raise MechanismError(f"clipping={plan.clipping} does not go with adaptive={plan.adaptive}.")
    if plan.shuffled and plan.noise_multiplier:
        raise MechanismError("Shuffled batches with noise: ε counts coin flips, and shuffling costs more.")
    if plan.adaptive and not plan.is_private:
        raise MechanismError("Adaptive clipping without noise would release its count as it is.")
    changes = plan.adaptive or not (plan.clip_schedule.is_constant and plan.noise_schedule.is_constant)
    if plan.owners > 1 and (plan.adaptive or plan.bands > 1 or plan.rounded):
        raise MechanismError(
            f"Noise in shares of {plan.owners} owners is counted for a planned C and independent noise in floating point only."
        )
    if plan.bands > 1 and changes:
        raise MechanismError(f"Noise correlated over {plan.bands} steps is counted for one constant C and σ only.")


class BatchSizes:
    """Whether the sampler draws more records than the plan says, which would understate ε.

    The records of t steps are t·B on average, a sum of independent coin flips. By Bernstein's inequality a sound sampler
    exceeds t·B + L/3 + √(L²/9 + 2·L·t·B) with probability e^−L at most; with L = 35, once in 10¹⁵ steps. With B = 256 a
    sample rate that is 10 % too large is refused after some 30 steps.

    Args:
        batch_size: B, expected.
        bands: b; groups that differ by a record put up to b records more than b·B into b steps.
    """

    _LOG_ODDS = 35.0

    def __init__(self, batch_size: int, bands: int):
        self._batch_size, self._slack = batch_size, float(bands if bands > 1 else 0)
        self._steps = self._drawn = 0

    def add(self, drawn: int) -> None:
        """Count the batch of one more step.

        Raises:
            MechanismError: more records than chance explains.
        """
        self._steps += 1
        self._drawn += drawn
        mean, part = self._steps * self._batch_size + self._slack, self._LOG_ODDS / 3
        most = mean + part + (part**2 + 2 * self._LOG_ODDS * mean) ** 0.5
        if self._drawn > most:
            raise MechanismError(
                f"The sampler drew {self._drawn:,} records in {self._steps:,} steps, more than {most:,.0f}: its sample rate is "
                f"above that of the plan, which expects {self._batch_size:,} a step."
            )
