"""What a run changes of a model, by name: trained parameters and buffers.

Frozen parameters come from the seed or from weights that everybody has, so neither a checkpoint nor a released file holds them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Trained parameters, each under its first name, and buffers; detached, not copied."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    return {name: t for name, t in model.state_dict().items() if name in trained or name not in parameters}


def load_trained(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give ``model`` what :func:`trained_state` took from one like it; a state that holds frozen parameters too is as good.

    Raises:
        ValueError: the state lacks something trained, or holds something that the model has not, or in another shape.
    """
    lacking = sorted(trained_state(model).keys() - state.keys())
    strange = sorted(state.keys() - model.state_dict().keys())
    if lacking or strange:
        what = f"lacks {lacking[0]}" if lacking else f"holds {strange[0]}, which the model has not"
        raise ValueError(f"it {what}")
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
