"""Parameters that are broadcast: y = normalised·w + b, y = a·w and y = a + b."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor, nn

from privlab.dpsgd.layers.uses import Formed, Use


def broadcast(parameter: nn.Parameter, rows: Tensor, n: int) -> Iterator[Use]:
    """The use of a parameter that was broadcast: its gradient is the sum over all places that it was carried to.

    Args:
        rows: the gradient at each of these places, (n·K, …) for K views of each of n records in a row.
    """
    if not parameter.requires_grad:
        return
    # A record's rows, then axes that the parameter was repeated along, then its own.
    each = rows.unflatten(0, (n, -1)) if len(rows) != n else rows[:, None]
    beyond = each.dim() - 1 - parameter.dim()
    each = each.sum(tuple(range(1, beyond + 1)))
    stretched = [axis + 1 for axis, size in enumerate(parameter.shape) if size == 1 and each.shape[axis + 1] > 1]
    yield Formed(parameter, each.sum(stretched, keepdim=True) if stretched else each)


def scaled(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that compute a·w, where w is their parameter called ``name``."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back * came, n)


def shifted(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that compute a + b, where b is their parameter called ``name``."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back, n)


def last_place(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that put their parameter called ``name`` behind the places of a sequence (rows, places, d)."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back[:, -1], n)
