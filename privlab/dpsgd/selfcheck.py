"""A short look, before step 1 of every private run, at whether clip and noise do what the plan says.

The references here are written out plainly, by ordinary autograd on one record at a time and in double precision, and share
no code with the mechanism.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from privlab.data.load import NOT_ASKED
from privlab.dpsgd.adaptive import count
from privlab.dpsgd.clipping import SHORTEST
from privlab.dpsgd.ghost import GhostGradients
from privlab.dpsgd.gradients import quiet_hooks
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.hooks import HooksGradients
from privlab.dpsgd.noisecheck import count_noise_ratio, noise_ratio
from privlab.dpsgd.probes import distorted_logits, unusual_tokens
from privlab.dpsgd.step import PrivateStep

#: Records looked at.
RECORDS = 8
#: Room for float32 rounding: of the sensitivity, of a gradient against the one-record reference, and of a division.
SENSITIVITY_ROOM, GRADIENT_ROOM, DIVISION_ROOM = 1e-4, 1e-3, 1e-5
#: The second for a pass in bfloat16, which rounds to 8 bits at each layer, otherwise for one record than for several.
COARSE_GRADIENT_ROOM = 0.1
#: Numbers of one-record gradients held at once: of a large network fewer than eight records are looked at, five at least.
_HELD, _FEWEST = 1 << 26, 5
#: Records in a physical chunk, so that the eight fall into several.
_CHUNK = 3


@dataclass(frozen=True)
class SelfCheck:
    """What was measured.

    Attributes:
        sensitivity: largest move of the clipped sum when one record leaves, as a share of C.
        gradient_error: distance to the sum of clipped one-record gradients, as a share of the longest of them.
        noise_ratio: measured over planned standard deviation of the noise.
        method_error: distance of ghost clipping's sum to that of materialised gradients, measured likewise; None with hooks.
        count_noise_ratio: measured over planned standard deviation of the noise on adaptive clipping's count; None without.
    """

    sensitivity: float
    gradient_error: float
    noise_ratio: float
    method_error: float | None = None
    count_noise_ratio: float | None = None


def self_check(step: PrivateStep, x: Tensor, y: Tensor) -> SelfCheck:
    """Check the mechanism on a few public records (test data), so that the result says nothing about training records.

    The first record is also made huge, and not a number; neither may get through. Where inputs are tokens, which are neither,
    its logits are, and some records are made up (:mod:`privlab.dpsgd.probes`). Gradients are looked at under the C of the coming
    step, under one that is short enough to shorten them all, and one that is so long that it shortens none. Noise already given
    is forgotten (correlated noise begins anew), so call this before the first step after a start or a resume.

    Args:
        step: of a private plan.
        x: inputs, (n, …) with n ≥ 2; the first 8 are used, of tokens the longest and the shortest of the first thousand.
        y: labels, (n,), or next tokens, (n, L).

    Raises:
        MechanismError: names what failed, with its value and bound, and the layer where there is one.
    """
    step.check_what_trains()
    most = max(_FEWEST, min(RECORDS, _HELD // step.dimension))
    x, y = (x[:most], y[:most]) if x.is_floating_point() else unusual_tokens(x, y, most)
    x, y = step.views.of_public(x, y)
    records = len(y) // step.views.count
    with _small_chunks(step):
        sensitivity, gradient_error, method_error = 0.0, 0.0, None
        gradients = _one_record_gradients(step, x, y)
        # At the short bound one record is enough: the sum is compared with bounded contributions all the same.
        for bound, leaving in ((step.max_grad_norm, records), (_short_bound(gradients), 1)):
            with _clipped_to(step, bound):
                sensitivity = max(sensitivity, _sensitivity(step, x, y, bound, leaving))
                gradient_error = max(gradient_error, _gradient_error(step, x, y, bound, gradients))
                if isinstance(step.gradients, GhostGradients):
                    method_error = max(method_error or 0.0, _method_error(step, x, y, bound))
        # Where all are shortened, a wrong length does not show.
        with _clipped_to(step, bound := _long_bound(gradients)):
            gradient_error = max(gradient_error, _gradient_error(step, x, y, bound, gradients))
        _refuse_poison(step, x, y)
        _refuse_realised_size(step, x, y)
        if step.adaptive:
            # At the first bound no gradient is kept as it is, at the second each is.
            for bound in (_short_bound(gradients), _long_bound(gradients)):
                with _clipped_to(step, bound):
                    _refuse_heavy_count(step, x, y)
        of_gradients = noise_ratio(step)
        of_count = count_noise_ratio(step) if step.adaptive else None
    step.noise.reset()
    step.clear()
    return SelfCheck(sensitivity, gradient_error, of_gradients, method_error, of_count)


@contextmanager
def _small_chunks(step: PrivateStep) -> Iterator[None]:
    usual, step.physical_batch_size = step.physical_batch_size, min(_CHUNK, step.physical_batch_size)
    try:
        yield
    finally:
        step.physical_batch_size = usual


@contextmanager
def _clipped_to(step: PrivateStep, bound: float) -> Iterator[None]:
    """C = ``bound`` for the clip. At the coming step's own C nothing is set, so that a wrong one is seen."""
    usual = step.gradients.max_grad_norm
    if bound != step.max_grad_norm:
        step.gradients.max_grad_norm = bound
    try:
        yield
    finally:
        step.gradients.max_grad_norm = usual


def _without(step: PrivateStep, x: Tensor, y: Tensor, record: int) -> tuple[Tensor, Tensor]:
    """Views and labels of all records but one."""
    others = torch.arange(len(y), device=y.device) // step.views.count != record
    return x[others], y[others]


def _one_record_gradients(step: PrivateStep, x: Tensor, y: Tensor) -> list[list[Tensor]]:
    """Each record's own gradient, by parameter; float64 on the CPU. One that is not finite is nothing, as in the sum."""
    parameters, views = step.gradients.parameters, step.views.count
    found = []
    with step.gradients.bare() as module, quiet_hooks():
        for rows, labels in zip(x.split(views), y.split(views), strict=True):
            asked = (labels != NOT_ASKED).flatten(1).any(1) if labels.dim() > 1 else labels != NOT_ASKED
            if not asked.any():
                found.append([torch.zeros(p.shape, dtype=torch.double) for p in parameters])
                continue
            # Each view's own mean, then the mean of these; a view that asks nothing counts as one without a loss.
            of_views = [
                cross_entropy(logits.flatten(0, -2), label.reshape(-1), ignore_index=NOT_ASKED)
                for logits, label in zip(module(rows)[asked][:, None], labels[asked], strict=True)
            ]
            loss = sum(of_views) / views
            own = [g.cpu().double() for g in torch.autograd.grad(loss, parameters, materialize_grads=True)]
            finite = all(g.isfinite().all() for g in own)
            found.append(own if finite else [torch.zeros_like(g) for g in own])
    return found


def _length(parts: Sequence[Tensor]) -> float:
    return sum(part.square().sum().item() for part in parts) ** 0.5


def _short_bound(gradients: list[list[Tensor]]) -> float:
    """Half the shortest gradient's norm over √(number of parameters): it shortens every record, and most layers."""
    lengths = [length for one in gradients if (length := _length(one)) > SHORTEST]
    return min(lengths, default=1.0) / 2 / len(gradients[0]) ** 0.5


def _long_bound(gradients: list[list[Tensor]]) -> float:
    """Twice the longest gradient's norm times √(number of parameters): it shortens no record, and no layer of one."""
    return 2 * max(map(_length, gradients)) * len(gradients[0]) ** 0.5 or 1.0


def _contribution(step: PrivateStep, gradient: list[Tensor], bound: float) -> list[Tensor]:
    """What one record may add to the sum under the plan's way of clipping."""
    plan = step.plan
    if plan.clipping == "per-layer":
        clipped = list(gradient)
        for _, places in step.gradients.layers:
            length = _length([gradient[i] for i in places])
            for i in places:
                clipped[i] = gradient[i] * min(1.0, bound / len(step.gradients.layers) ** 0.5 / max(length, 1e-300))
        return clipped
    length = _length(gradient)
    if plan.clipping == "automatic":
        factor = bound / (length + plan.stability) if length >= SHORTEST else 0.0
    else:
        factor = min(1.0, bound / max(length, 1e-300))
    return [g * factor for g in gradient]


def _sensitivity(step: PrivateStep, x: Tensor, y: Tensor, bound: float, leaving: int) -> float:
    """Take away each of the first ``leaving`` records, the first also when it is huge."""
    whole = step.clipped_sum(x, y)
    if x.is_floating_point():
        huge = x.clone()
        huge[: step.views.count] *= 1e3
        adversarial = step.clipped_sum(huge, y)
    else:
        with distorted_logits(step.gradients.module, x[0], 1e3):
            adversarial = step.clipped_sum(x, y)
    moves = []
    for i in range(leaving):
        without = step.clipped_sum(*_without(step, x, y, i))
        moves.append((whole - without).norm().item())
        if i == 0:
            moves.append((adversarial - without).norm().item())
    # Not max(): NaN would hide in it.
    if not all(move <= bound * (1 + SENSITIVITY_ROOM) for move in moves):
        raise MechanismError(
            f"Self-check failed: taking one record away moved the clipped sum by {max(moves):.6g}, more than C = {bound:g}."
        )
    return max(moves) / bound


def _gradient_error(step: PrivateStep, x: Tensor, y: Tensor, bound: float, gradients: list[list[Tensor]]) -> float:
    contributions = [_contribution(step, gradient, bound) for gradient in gradients]
    longest = max(_length(one) for one in contributions)
    totals, _ = step.summarise(x, y)
    errors = [total.cpu().double() - sum(parts) for total, *parts in zip(totals, *contributions, strict=True)]
    _refuse_distance(step, errors, longest, "the one-record gradients")
    return _length(errors) / longest if longest else 0.0


def _method_error(step: PrivateStep, x: Tensor, y: Tensor, bound: float) -> float:
    """Ghost clipping against materialised gradients of the same module, whose hooks it lends for that long."""
    ghost, (totals, _) = step.gradients, step.summarise(x, y)
    ghost.module.remove_hooks()
    try:
        hooks = HooksGradients(ghost.module.to_standard_module(), bound, ghost.clipping, 1)
        try:
            hooks.differentiate(x, y)
            norms = hooks.clip().norms
            errors = [total - p.grad for total, p in zip(totals, hooks.parameters, strict=True)]
        finally:
            hooks.module.remove_hooks()
    finally:
        ghost.module.add_hooks(loss_reduction="sum")
    longest = min(bound, norms.max().item()) if len(norms) else 0.0
    if step.plan.clipping == "automatic":
        longest = bound
    _refuse_distance(step, [error.cpu().double() for error in errors], longest, "the sum by materialised gradients")
    return _length(errors) / longest if longest else 0.0


def _refuse_distance(step: PrivateStep, errors: list[Tensor], longest: float, reference: str) -> None:
    by_layer = {name: _length([errors[i] for i in places]) for name, places in step.gradients.layers}
    room = GRADIENT_ROOM if step.precision == torch.float32 else COARSE_GRADIENT_ROOM
    wrong = [name for name, error in by_layer.items() if not error <= room * longest]
    if wrong:
        raise MechanismError(
            f"Self-check failed in layer {', '.join(wrong)}: the clipped sum is {by_layer[wrong[0]]:.3g} away from "
            f"{reference}, more than {room:g} × {longest:.3g}."
        )


def _refuse_poison(step: PrivateStep, x: Tensor, y: Tensor) -> None:
    if x.is_floating_point():
        poisoned = x.clone()
        # One bad view must not get through either.
        poisoned[step.views.count - 1] = float("nan")
        whole = step.clipped_sum(poisoned, y)
    else:
        with distorted_logits(step.gradients.module, x[0], float("nan")):
            whole = step.clipped_sum(x, y)
    moved = (whole - step.clipped_sum(*_without(step, x, y, 0))).norm().item()
    if not moved <= step.max_grad_norm * SENSITIVITY_ROOM:
        raise MechanismError(f"Self-check failed: a record that is not a number moved the clipped sum by {moved:g}.")


class _Silence:
    """A source that adds nothing."""

    def perturb(self, sums: Sequence[Tensor], std: float) -> list[Tensor]:
        return [total.clone() for total in sums]


def _refuse_realised_size(step: PrivateStep, x: Tensor, y: Tensor) -> None:
    """Whatever the number of records, the sum must be divided by the public B."""
    planned, usual = step.plan.batch_size, step.optimizer.source
    step.optimizer.source = _Silence()
    try:
        views = step.views.count
        for size in {1, len(y) // views}:
            total = step.clipped_sum(x[: size * views], y[: size * views])
            step.perturb()
            mean = torch.cat([p.grad.flatten() for p in step.gradients.parameters])
            if not (mean * planned - total).norm() <= DIVISION_ROOM * total.norm():
                raise MechanismError(
                    f"Self-check failed: the sum of {size} records was divided by "
                    f"{(total.norm() / mean.norm()).item():.6g}, not by the expected batch size {planned}."
                )
    finally:
        step.optimizer.source = usual


def _refuse_heavy_count(step: PrivateStep, x: Tensor, y: Tensor) -> None:
    device = y.device
    whole = count(step.summarise(x, y)[1], device)
    for i in range(len(y) // step.views.count):
        moved = (whole - count(step.summarise(*_without(step, x, y, i))[1], device)).abs().item()
        if not moved <= 0.5:
            raise MechanismError(
                f"Self-check failed: taking one record away moved the count of adaptive clipping by {moved:g}, more than ½."
            )
