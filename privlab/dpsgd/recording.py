"""What goes into each layer of a model and what comes back, and where in both the records lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.layers.rules import REPEATABLE, Rule, falls_back, forward_for, leaves_use, rule_for
from privlab.dpsgd.layers.uses import Use

#: A layer's name, and the number of its call in a forward pass.
Place = tuple[str, int]
#: Rows of the two passes in which the records' axis is looked for: the one whose size follows.
_TRIAL_ROWS = (2, 3)


class Visit:
    """One use of one layer: what went in and what came back.

    Attributes:
        place: which call of which layer.
        rule: what these say of the layer's parameters.
        shapes: of what went in and what came out.

    Args:
        parameters: that train and are used here.
    """

    def __init__(
        self,
        layer: nn.Module,
        place: Place,
        rule: Rule,
        came: Tensor,
        output: Tensor,
        parameters: Iterable[nn.Parameter],
    ):
        self.layer, self.place, self.rule = layer, place, rule
        self._parameters = parameters
        self.shapes = came.shape, output.shape
        self._came, self._version = came.detach(), came._version
        self.back: Tensor | None = None

    def receive(self, gradient: Tensor) -> None:
        self.back = gradient

    def came(self) -> Tensor:
        """Raises MechanismError where it was changed after it went in."""
        if self._came._version != self._version:
            raise MechanismError(
                f"What went into layer {self.place[0]} was changed in place afterwards, so its gradient is lost."
            )
        return self._came

    def refuse_unsaid(self, uses: Iterable[Use]) -> None:
        """Raises MechanismError where these are not uses of all the parameters: somebody put another one into the layer."""
        if {id(use.parameter) for use in uses} != {id(p) for p in self._parameters}:
            raise MechanismError(
                f"Layer {self.place[0]} has parameters that its per-sample rule does not know, as weight normalisation adds them."
            )


class Recorder:
    """Watches the layers of a model that own trained parameters.

    Args:
        model: what trains is settled.

    Attributes:
        parameters: that train.
        fallbacks: names of layers for which Opacus's rule does, because there is none of our own.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self._trained = {id(p) for p in self.parameters}
        self.fallbacks: list[str] = []
        self._forwards: list[tuple[nn.Module, Callable]] = []
        for name, layer in model.named_modules():
            label = f"{name or 'model'} ({type(layer).__name__})"
            forward = forward_for(layer)
            if forward and any(p.requires_grad for p in layer.parameters()):
                self._forwards.append((layer, partial(forward, layer, partial(self._keep, layer, label))))
            elif any(p.requires_grad for p in layer.parameters(recurse=False)) and rule_for(layer) is not leaves_use:
                if isinstance(layer, REPEATABLE):
                    layer.register_forward_pre_hook(partial(self._repeat, label), with_kwargs=True)
                layer.register_forward_hook(partial(self._called, label), with_kwargs=True)
                if falls_back(layer):
                    self.fallbacks.append(label)
        self._visits: list[Visit] | None = None
        self._calls: Counter[str] = Counter()
        self._rows = 0
        self._repeated: set[Place] = set()
        self._axes: dict[Place, tuple[int, int]] = {}
        self._seen: dict[torch.Size, tuple[set[Place], dict[Place, tuple[int, int]]]] = {}

    @contextmanager
    def recording(self, rows: int) -> Iterator[list[Visit]]:
        """Visits of the layers by ``rows`` rows of records, while no trained parameter asks for a gradient."""
        self._visits, self._rows = [], rows
        self._calls.clear()
        for p in self.parameters:
            p.requires_grad_(False)
        for layer, forward in self._forwards:
            layer.forward = forward
        try:
            yield self._visits
        finally:
            self._visits = None
            for layer, _ in self._forwards:
                del layer.forward
            for p in self.parameters:
                p.requires_grad_(True)

    def rows_first(self, visit: Visit, rows: int) -> tuple[Tensor, Tensor]:
        """What went in and what came back, each (rows, …).

        Raises:
            MechanismError: no axis is the records', or it was not looked for.
        """
        axes = self._axes.get(visit.place)
        if axes is None:
            raise MechanismError(f"Layer {visit.place[0]} is not called equally often each time.")
        came, back = visit.came().movedim(axes[0], 0), visit.back.movedim(axes[1], 0)
        for tensor in (came, back):
            if len(tensor) != rows:
                raise MechanismError(_mixed(visit, len(tensor), rows))
        return came, back

    def look(self, x: Tensor) -> None:
        """Find where the records lie in what goes into and comes out of each layer, for inputs like ``x``.

        A layer that sees as many rows by chance would pass for one that sees one row per record: hence two passes of
        different sizes. Layers that are handed one row for all records get one for each from now on.

        Raises:
            MechanismError: a layer does not see one row per record.
        """
        if x.shape[1:] in self._seen:
            self._repeated, self._axes = self._seen[x.shape[1:]]
            return
        self._repeated, self._axes = set(), {}
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            usual = [self._model(x[:1].repeat_interleave(rows, 0)).shape for rows in _TRIAL_ROWS]
            passes = [self._trial(x, rows) for rows in _TRIAL_ROWS]
            alone = {
                first.place
                for first, second in zip(*(visits for _, visits in passes), strict=False)
                if first.shapes == second.shapes and isinstance(first.layer, REPEATABLE)
            }
            if alone:
                passes = self._repeating(x, alone, usual)
        (_, few), (_, more) = passes
        if [visit.place for visit in few] != [visit.place for visit in more]:
            raise MechanismError("The model's layers are not called equally often each time.")
        for first, second in zip(few, more, strict=True):
            self._axes[first.place] = tuple(
                _records_axis(first, *shapes) for shapes in zip(first.shapes, second.shapes, strict=True)
            )
        self._seen[x.shape[1:]] = self._repeated, self._axes

    def _trial(self, x: Tensor, rows: int) -> tuple[torch.Size, list[Visit]]:
        with self.recording(rows) as visits:
            return self._model(x[:1].repeat_interleave(rows, 0)).shape, visits

    def _repeating(self, x: Tensor, alone: set[Place], usual: list[torch.Size]) -> list[tuple[torch.Size, list[Visit]]]:
        """Passes in which the layers of ``alone`` get one row for each record."""
        self._repeated = alone
        try:
            passes = [self._trial(x, rows) for rows in _TRIAL_ROWS]
            fit = [shape for shape, _ in passes] == usual
        except (RuntimeError, IndexError):  # what the model does with the output was made for one row
            fit = False
        if not fit:
            raise MechanismError(
                f"Layers {', '.join(name for name, _ in alone)} read one row for all records, and the model cannot do with one "
                "for each, so no row is a record's own."
            )
        return passes

    def _called(self, label: str, layer: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor | None:
        if self._visits is None:
            return None
        came = args[0] if args else next(iter(kwargs.values()))
        return self._keep(layer, label, rule_for(layer), came, output, layer.parameters(recurse=False))

    def _keep(
        self,
        layer: nn.Module,
        label: str,
        rule: Rule,
        came: Tensor,
        output: Tensor,
        parameters: Iterable[nn.Parameter | None],
    ) -> Tensor:
        used = [p for p in parameters if id(p) in self._trained]
        if not used:
            return output
        visit = Visit(layer, (label, self._calls[label]), rule, came, output, used)
        self._calls[label] += 1
        self._visits.append(visit)
        if output._is_view():
            # If a view is changed in place, as by ReLU(inplace=True), nothing comes back to its hook.
            output = output.clone()
        if not output.requires_grad and torch.is_grad_enabled():
            # The first layer: nothing below it needs a gradient.
            output = _Start.apply(output, torch.zeros((), requires_grad=True))
        if output.requires_grad:
            output.register_hook(visit.receive)
        return output

    def _repeat(self, label: str, layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._visits is None or (label, self._calls[label]) not in self._repeated:
            return None
        ids = args[0] if args else kwargs["input"]
        one = ids if ids.dim() > 1 and len(ids) == 1 else ids[None]
        return (one.expand(self._rows, *one.shape[1:]), *args[1:]), {}


class _Start(torch.autograd.Function):
    """Makes a tensor ask for a gradient without being a leaf, so that it may still be changed in place."""

    @staticmethod
    def forward(ctx, output: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, None]:
        return None, None


def _records_axis(visit: Visit, few: torch.Size, more: torch.Size) -> int:
    """The axis whose size is the number of rows in both trials."""
    differing = [axis for axis, sizes in enumerate(zip(few, more, strict=False)) if sizes[0] != sizes[1]]
    if len(few) == len(more) and len(differing) == 1 and (few[differing[0]], more[differing[0]]) == _TRIAL_ROWS:
        return differing[0]
    raise MechanismError(_mixed(visit, few[differing[0]] if differing else few[0], _TRIAL_ROWS[0]))


def _mixed(visit: Visit, found: int, rows: int) -> str:
    return f"Layer {visit.place[0]} got {found} rows for {rows} records, so no row is a record's own."
