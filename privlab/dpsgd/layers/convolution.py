"""Convolutions over one, two or three axes: a matrix product at each place, of what the kernel sees there."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.layers.kernels import choose
from privlab.dpsgd.layers.linear import quicker
from privlab.dpsgd.layers.uses import Formed, Use

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

#: What the kernel sees is laid out for so many bytes' worth of records at once: on a CPU no more than its caches hold, where
#: ResNet's layers take half the time that they take with 64 records at once.
_BLOCK_BYTES = {"cpu": 2 << 20}
_BLOCK_BYTES_ELSEWHERE = 256 << 20


class Convolved(Use):
    """The gradient of a kernel: Σₜ gₜᵀ·aₜ, where aₜ is what the kernel sees at place t, and gₜ the gradient there.

    Three ways to the lengths: ``formed`` forms and keeps each record's gradient, ``grouped`` leaves that to the library's
    convolution with a group for each record (Rochette, Manoel and Tramel 2019, arXiv:1912.06015), ``grams`` sums
    ⟨aₛ, aₜ⟩⟨gₛ, gₜ⟩ over pairs of places, which is less where places are few and the kernel is large.

    Args:
        came: what went in, (n·K, channels, *places).
        back: the gradient at what came out, (n·K, channels out, *places out).
        n: records, of K rows each.
    """

    def __init__(self, layer: Convolution, came: Tensor, back: Tensor, n: int, way: str | None = None):
        super().__init__(layer.weight)
        self._layer, self._n, self._way = layer, n, way
        self._came, self._back = came, back
        self._each: Tensor | None = None

        out, per_group, *self._kernel = layer.weight.shape
        self._groups = layer.groups
        self._rows = out // layer.groups
        self._columns = per_group * prod(self._kernel)
        self._views = len(came) // n
        self._places = self._views * prod(back.shape[2:])

    def lengths(self) -> Tensor:
        if self._way is None:
            ways = quicker(self._places, self._columns, self._rows)
            if self._can_be_grouped():
                ways = [*ways, "grouped"]
            self._way = choose(self._signature(), self._came.device, ways, self._n, self._trial)
        return {"grams": self._lengths_by_grams, "grouped": self._group, "formed": self._form}[self._way]()

    def total(self, factors: Tensor) -> Tensor:
        if self._each is not None:
            return self._as_parameter((factors @ self._each.flatten(1)).view(self._each.shape[1:]))
        factors, formed = self._apart(factors)
        return self._weighted(factors) + formed

    def each(self) -> Tensor:
        if self._each is None:
            self._way = "formed"
            self._form()
        return self._as_parameter(self._each)

    def some(self, records: Tensor) -> Tensor:
        return self._of(records).each()

    def terms(self) -> Tensor:
        return self._grams()[1]

    def _of(self, records: Tensor | slice, way: str | None = None) -> Convolved:
        came, back = (part.unflatten(0, (self._n, -1))[records].flatten(0, 1) for part in (self._came, self._back))
        return Convolved(self._layer, came, back, len(came) // self._views, way)

    def _as_parameter(self, kept: Tensor) -> Tensor:
        """What is kept of each record, or a sum of it, in the parameter's shape."""
        return kept if self._way == "grouped" else self._arranged(kept.mT)

    def _can_be_grouped(self) -> bool:
        return self._layer.padding_mode == "zeros" and not isinstance(self._layer.padding, str)

    def _signature(self) -> str:
        layer = self._layer
        return " ".join(
            map(
                str,
                (
                    type(layer).__name__,
                    tuple(layer.weight.shape),
                    layer.stride,
                    layer.padding,
                    layer.dilation,
                    layer.groups,
                    tuple(self._came.shape[1:]),
                    self._views,
                    "channels last" if self._came.stride(1) == 1 else "channels first",
                ),
            )
        )

    def _trial(self, way: str, records: int) -> None:
        part = self._of(slice(records), way)
        part.total(part.lengths())

    def _blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some records at a time: which, what the kernel sees (m·groups, places, columns), back (m·groups, places, rows)."""
        layer, axes = self._layer, len(self._kernel)
        came = self._came.movedim(1, -1)
        back = self._back.movedim(1, -1).unflatten(0, (self._n, -1)).unflatten(-1, (self._groups, -1))
        # (records, views, *places, groups, rows) → (records, groups, views, *places, rows)
        back = back.movedim(-2, 1)
        a_record = self._places * self._columns * self._groups * came.element_size()
        bytes_at_once = _BLOCK_BYTES.get(came.device.type, _BLOCK_BYTES_ELSEWHERE)
        step = max(1, bytes_at_once // a_record)
        margins = layer._reversed_padding_repeated_twice
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        for first in range(0, self._n, step):
            some = slice(first, min(first + step, self._n))
            part = came[some.start * self._views : some.stop * self._views]
            if any(margins):
                if mode == "constant":
                    part = functional.pad(part, (0, 0, *margins))
                else:
                    part = functional.pad(part.movedim(-1, 1), margins, mode).movedim(1, -1)
            strides, places = part.stride()[1:-1], back.shape[3 : 3 + axes]
            channel = part.stride(-1)
            per_group = part.shape[-1] // self._groups
            windows = part.as_strided(
                (some.stop - some.start, self._groups, self._views, *places, *self._kernel, per_group),
                (
                    self._views * part.stride(0),
                    per_group * channel,
                    part.stride(0),
                    *(s * stride for s, stride in zip(layer.stride, strides, strict=True)),
                    *(d * stride for d, stride in zip(layer.dilation, strides, strict=True)),
                    channel,
                ),
                part.storage_offset(),
            )
            yield (
                some,
                windows.reshape(-1, self._places, self._columns),
                back[some].reshape(-1, self._places, self._rows),
            )

    def _form(self) -> Tensor:
        """Each record's gradient, kept as (n, groups, columns, rows), and its length."""
        # Columns first: matrix libraries are up to a quarter quicker where the shorter axis is the last.
        each = self._came.new_empty(self._n, self._groups, self._columns, self._rows)
        lengths = self._came.new_empty(self._n)
        for some, windows, back in self._blocks():
            part = each[some]
            torch.bmm(windows.mT, back, out=part.flatten(0, 1))
            # While the caches hold it.
            torch.linalg.vector_norm(part.flatten(1), dim=1, out=lengths[some])
        self._each = each
        return lengths

    def _group(self) -> Tensor:
        """Each record's gradient, kept as (n, *the parameter's shape), and its length."""
        layer, shape = self._layer, self._layer.weight.shape

        def side_by_side(rows: Tensor) -> Tensor:
            # (n·K, channels, *places) → (K, n·channels, *places): what is summed over stands first.
            return rows.unflatten(0, (self._n, -1)).transpose(0, 1).flatten(1, 2)

        _, kernels, _ = torch.ops.aten.convolution_backward(
            side_by_side(self._back),
            side_by_side(self._came),
            layer.weight.new_empty(self._n * shape[0], *shape[1:]),  # only its shape is looked at
            None,
            layer.stride,
            layer.padding,
            layer.dilation,
            False,
            [0] * len(self._kernel),
            self._n * self._groups,
            [False, True, False],
        )
        self._each = kernels.view(self._n, *shape)
        return torch.linalg.vector_norm(self._each.flatten(1), dim=1)

    def _lengths_by_grams(self) -> Tensor:
        return self._settled(*self._grams())

    def _grams(self) -> tuple[Tensor, Tensor, Tensor]:
        """Squared lengths, Σ‖term‖ and Σ‖term‖² of each record; ‖Σ gₜᵀaₜ‖² = Σ ⟨aₛ, aₜ⟩⟨gₛ, gₜ⟩."""
        found = []
        for _, windows, back in self._blocks():
            grams = (windows @ windows.mT).mul_(back @ back.mT).unflatten(0, (-1, self._groups))
            squared_terms = grams.diagonal(dim1=2, dim2=3).flatten(1).clamp(min=0)
            found.append((grams.flatten(1).sum(1), squared_terms.sqrt().sum(1), squared_terms.sum(1)))
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def _arranged(self, gradient: Tensor) -> Tensor:
        """(…, groups, rows, columns) as (…, *the parameter's shape)."""
        leading = gradient.shape[:-3]
        gradient = gradient.reshape(*leading, self._groups * self._rows, *self._kernel, -1)
        return gradient.movedim(-1, len(leading) + 1)

    def _weighted(self, factors: Tensor) -> Tensor:
        """Σᵢ fᵢ·gᵢ, as one ordinary gradient."""
        total = self._came.new_zeros(self._groups, self._rows, self._columns)
        for some, windows, back in self._blocks():
            weighted = back.unflatten(0, (-1, self._groups)) * factors[some, None, None, None]
            weighted, windows = weighted.transpose(0, 1).flatten(1, 2), windows.unflatten(0, (-1, self._groups))
            total.baddbmm_(weighted.mT, windows.transpose(0, 1).flatten(1, 2))
        return self._arranged(total)


def convolution(layer: Convolution, came: Tensor, back: Tensor, n: int) -> Iterator[Use]:
    """y = kernel ⋆ x + b.

    Raises:
        MechanismError: what went in has no axis of records.
    """
    if came.dim() != layer.weight.dim():
        raise MechanismError(
            f"{type(layer).__name__} got an input of {came.dim()} axes; with records, channels and places it has "
            f"{layer.weight.dim()}."
        )
    if layer.weight.requires_grad:
        yield Convolved(layer, came, back, n)
    if layer.bias is not None and layer.bias.requires_grad:
        yield Formed(layer.bias, back.flatten(2).sum(2).unflatten(0, (n, -1)).sum(1))
