"""Which rule belongs to which kind of layer. A new kind of layer: a file beside this one, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from privlab.dpsgd.guards import opacus_knows
from privlab.dpsgd.layers.linear import linear
from privlab.dpsgd.layers.opacus import by_opacus
from privlab.dpsgd.layers.uses import Use

#: ``rule(layer, came, back, n)``: what went into the layer and the gradient at what came out, both (n·K, …) for K views of each
#: of n records in a row, in which a record's gradient is the sum over its rows. It yields each use of a trained parameter.
Rule = Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]

#: By the layer's type and nothing derived from it, which might compute something else; by full name where the type belongs to
#: a package that need not be installed.
RULES: dict[type[nn.Module] | str, Rule] = {
    nn.Linear: linear,
}


def rule_for(layer: nn.Module) -> Rule | None:
    """The layer's own rule, else Opacus's, else None."""
    kind = type(layer)
    own = RULES.get(kind) or RULES.get(f"{kind.__module__}.{kind.__qualname__}")
    return own or (by_opacus if opacus_knows(layer) else None)


def falls_back(layer: nn.Module) -> bool:
    """Whether Opacus's rule has to do."""
    return rule_for(layer) is by_opacus
