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
    # The records, the rows of each, and the places; the parameter's axes are the last of these.
    each = rows.unflatten(0, (n, -1))
    beyond = each.dim() - 1 - parameter.dim()
    repeated = [*range(1, beyond + 1), *(axis + 1 + beyond for axis, size in enumerate(parameter.shape) if size == 1)]
    if repeated:
        each = each.sum(repeated, keepdim=True)
    yield Formed(parameter, each.reshape(n, *parameter.shape))


def scaled(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that compute a·w, where w is their parameter called ``name``."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back * came, n)


def shifted(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that compute a + b, where b is their parameter called ``name``."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back, n)


def last_place(name: str) -> Callable[[nn.Module, Tensor, Tensor, int], Iterable[Use]]:
    """The rule of layers that put their parameter called ``name`` behind the places of a sequence (rows, places, d)."""
    return lambda layer, came, back, n: broadcast(getattr(layer, name), back[:, -1], n)
