"""What would silently void the guarantee is refused here, by name."""

from __future__ import annotations

from collections import Counter

from opacus.grad_sample import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class MechanismError(RuntimeError):
    """The private step is not what the plan says, in plain words. No training may go on."""


def refuse_unsupported(model: nn.Module, *, ghost: bool) -> None:
    """Refuse layers for which a record's own gradient does not exist or is not known exactly.

    Raises:
        MechanismError: BatchNorm of any kind (frozen too: it mixes the records of a batch), layers that Opacus refuses,
            layers that own parameters and have no exact per-sample rule, parameters that are shared while ``ghost``
            (summed norms of shared parameters under-clip), or nothing to train.
    """
    for name, layer in model.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _BatchNorm):
            raise MechanismError(
                f"Layer “{name}” ({kind}) mixes the records of a batch, so no record has a gradient of its own; use GroupNorm."
            )
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
        if own and type(layer) not in GradSampleModule.GRAD_SAMPLERS:
            raise MechanismError(f"Layer “{name}” ({kind}) has no exact rule for per-sample gradients.")
        if own and any(True for _ in layer.buffers(recurse=False)):
            raise MechanismError(
                f"Layer “{name}” ({kind}) keeps running statistics of the records, which are not private."
            )
    problems = ModuleValidator.validate(model.train(), strict=False)
    if problems:
        raise MechanismError(f"Opacus refuses the model: {problems[0]}")
    named = [(name, p) for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    if not named:
        raise MechanismError("The model has no trainable parameters.")
    uses = Counter(id(p) for _, p in named)
    shared = [name for name, p in named if uses[id(p)] > 1]
    if ghost and shared:
        raise MechanismError(
            f"Parameters {', '.join(shared)} are shared; ghost clipping would under-clip them. Use hooks."
        )
