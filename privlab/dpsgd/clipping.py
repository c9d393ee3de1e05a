"""How much each record's gradient is shortened, so that one record moves the sum by at most C.

For a gradient g of norm ‖g‖ and the bound C (``max_grad_norm``) the factor is

* ``flat`` and ``adaptive``: min(1, C/‖g‖) (Abadi et al. 2016, algorithm 1);
* ``automatic``: C/(‖g‖ + γ) (Bu et al. 2023, "Automatic clipping", AUTO-S); γ = 0 normalises (AUTO-V);
* ``per-layer``: min(1, C_l/‖g_l‖) for each of L layers, C_l = C/√L (McMahan et al. 2018). The layers' bounds make
  √(L·C²/L) = C together, so noise of standard deviation σ·C on every coordinate is what the plan counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: Automatic clipping takes shorter gradients for zero: in float32 their squares, and so their norms, are not exact.
SHORTEST = 1e-12


@dataclass(frozen=True)
class Clipping:
    """One of the ways above.

    Attributes:
        mode: ``flat``, ``adaptive``, ``automatic`` or ``per-layer``.
        stability: γ of ``automatic``, at least 0.
    """

    mode: str = "flat"
    stability: float = 0.0

    @property
    def by_layer(self) -> bool:
        return self.mode == "per-layer"

    def bound(self, max_grad_norm: float, parts: int) -> float:
        """C of each part that has a factor of its own: of each of L = ``parts`` layers, or of the whole gradient."""
        return max_grad_norm / parts**0.5 if self.by_layer else max_grad_norm

    def groups(self, layers: Sequence[tuple[str, Sequence[int]]], parameters: int) -> list[Sequence[int]]:
        """Places of the parameters that have one factor together: each layer's (:func:`layers`), or all of them."""
        return [places for _, places in layers] if self.by_layer else [range(parameters)]

    def factors(self, norms: Tensor, max_grad_norm: float) -> Tensor:
        """What to multiply gradients with.

        Args:
            norms: (L, n), norms of n gradients in each layer; (1, n), of the whole gradients, where layers do not matter.
            max_grad_norm: C.

        Returns:
            Factors, (L, n) or (1, n); at least 0, of no meaning where a norm is not finite.
        """
        if self.mode == "automatic":
            return torch.where(norms < SHORTEST, 0.0, max_grad_norm / (norms + self.stability))
        return (self.bound(max_grad_norm, len(norms)) / norms).clamp(max=1)

    def shortened(self, norms: Tensor, max_grad_norm: float) -> Tensor:
        """Which records have a gradient (per layer: of any layer) longer than the bound; bool (n,), ``norms`` as above."""
        return (norms > self.bound(max_grad_norm, len(norms))).any(0)


def layers(model: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Layers, that is modules which own trained parameters: name, and places of these among all trained parameters.

    A parameter that several modules share belongs to the first.
    """
    places = {id(p): i for i, p in enumerate(p for p in model.parameters() if p.requires_grad)}
    found = []
    for name, module in model.named_modules():
        own = tuple(place for p in module.parameters(recurse=False) if (place := places.pop(id(p), None)) is not None)
        if own:
            found.append((f"{name or 'model'} ({type(module).__name__})", own))
    return tuple(found)
