"""The methods of per-record gradients by name."""

from __future__ import annotations

import torch
from torch import nn

from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.ghost import GhostGradients
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.hooks import HooksGradients
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.onepass import OnePassGradients
from privlab.dpsgd.plain import PlainGradients

Gradients = OnePassGradients | HooksGradients | GhostGradients | PlainGradients


def gradients_for(
    method: str,
    model: nn.Module,
    max_grad_norm: float | None,
    clipping: Clipping | None = None,
    views: int = 1,
    precision: torch.dtype = torch.float32,
    kernels: Kernels | None = None,
) -> Gradients:
    """Wrap ``model``. What trains must be settled before: later changes of ``requires_grad`` are refused at each step.

    Args:
        method: ``one-pass``, ``hooks`` or ``ghost``; without a bound all become ``plain``.
        max_grad_norm: C, or None for no clipping.
        clipping: the factors; flat by default.
        views: K, rows of x in a row that show one record.
        precision: of the forward and backward pass.
        kernels: how layers choose among equal ways in one-pass; without it none is tried.

    Raises:
        MechanismError: a layer that has no per-record gradient, or what ghost clipping cannot do.
    """
    if max_grad_norm is None:
        return PlainGradients(model, views, precision)
    clipping = clipping or Clipping()
    if method == "one-pass":
        return OnePassGradients(model, max_grad_norm, clipping, views, precision, kernels)
    if precision != torch.float32:
        raise MechanismError(
            f"{method} measures norms in the precision of the pass, and {precision} is too coarse. Use one-pass."
        )
    if method == "hooks":
        return HooksGradients(model, max_grad_norm, clipping, views)
    if views > 1:
        raise MechanismError(
            f"Ghost clipping forms no gradients, so those of {views} views of a record cannot be averaged before the clip. "
            "Use one-pass."
        )
    return GhostGradients(model, max_grad_norm, clipping)
