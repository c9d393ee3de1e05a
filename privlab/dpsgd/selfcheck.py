"""A short look, before step 1 of every private run, at whether clip and noise do what the plan says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from privlab.dpsgd.gradients import quiet_hooks
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.step import PrivateStep

#: Records looked at, noise values measured (at least) and how many standard errors of their spread are accepted:
#: a sound mechanism is refused about once in a million runs, one with 5 % too little noise always.
RECORDS, NOISE_VALUES, STANDARD_ERRORS = 8, 1 << 16, 5.0
#: Room for float32 rounding: of the sensitivity, and of a gradient against the one-record reference.
SENSITIVITY_ROOM, GRADIENT_ROOM = 1e-4, 1e-3


@dataclass(frozen=True)
class SelfCheck:
    """What was measured.

    Attributes:
        sensitivity: largest move of the clipped sum when one record leaves, as a share of C.
        gradient_error: distance to the sum of clipped one-record gradients, as a share of the longest of them.
        noise_ratio: measured over planned standard deviation of the noise.
    """

    sensitivity: float
    gradient_error: float
    noise_ratio: float


def self_check(step: PrivateStep, x: Tensor, y: Tensor) -> SelfCheck:
    """Check the mechanism on a few public records (test data), so that the result says nothing about training records.

    The first record is also made huge, and not a number; neither may get through.

    Args:
        step: of a private plan.
        x: inputs, (n, …) with n ≥ 2; the first 8 are used.
        y: labels, (n,).

    Raises:
        MechanismError: names what failed, with its value and bound.
    """
    x, y = x[:RECORDS], y[:RECORDS]
    sensitivity, gradient_error = _sensitivity(step, x, y), _gradient_error(step, x, y)
    _refuse_poison(step, x, y)
    noise_ratio = _noise_ratio(step)
    step.clear()
    return SelfCheck(sensitivity, gradient_error, noise_ratio)


def _sensitivity(step: PrivateStep, x: Tensor, y: Tensor) -> float:
    bound = step.plan.max_grad_norm
    huge = x.clone()
    huge[0] *= 1e3
    whole, adversarial = step.clipped_sum(x, y), step.clipped_sum(huge, y)
    moves = []
    for i in range(len(x)):
        others = torch.arange(len(x), device=x.device) != i
        without = step.clipped_sum(x[others], y[others])
        moves.append((whole - without).norm().item())
        if i == 0:
            moves.append((adversarial - without).norm().item())
    if not max(moves) <= bound * (1 + SENSITIVITY_ROOM):
        raise MechanismError(
            f"Self-check failed: taking one record away moved the clipped sum by {max(moves):.6g}, more than C = {bound:g}."
        )
    return max(moves) / bound


def _gradient_error(step: PrivateStep, x: Tensor, y: Tensor) -> float:
    bound, parameters, module = step.plan.max_grad_norm, step.gradients.parameters, step.gradients.module
    module.disable_hooks()
    expected, longest = 0.0, 0.0
    for i in range(len(x)):
        with quiet_hooks():
            one = torch.autograd.grad(cross_entropy(module(x[i : i + 1]), y[i : i + 1]), parameters)
        flat = torch.cat([g.flatten() for g in one])
        clipped = flat * min(1.0, bound / max(flat.norm().item(), 1e-30))
        expected, longest = expected + clipped, max(longest, clipped.norm().item())
    module.enable_hooks()
    error = (step.clipped_sum(x, y) - expected).norm().item()
    if not error <= GRADIENT_ROOM * longest:
        raise MechanismError(
            f"Self-check failed: the clipped sum is {error:.3g} away from the one-record gradients, "
            f"more than {GRADIENT_ROOM:g} × {longest:.3g}."
        )
    return error / longest if longest else 0.0


def _refuse_poison(step: PrivateStep, x: Tensor, y: Tensor) -> None:
    poisoned = x.clone()
    poisoned[0] = float("nan")
    moved = (step.clipped_sum(poisoned, y) - step.clipped_sum(x[1:], y[1:])).norm().item()
    if not moved <= step.plan.max_grad_norm * SENSITIVITY_ROOM:
        raise MechanismError(f"Self-check failed: a record that is not a number moved the clipped sum by {moved:g}.")


def _noise_ratio(step: PrivateStep) -> float:
    planned = step.plan.noise_multiplier * step.plan.max_grad_norm
    count, total, squares = 0, 0.0, 0.0
    while count < NOISE_VALUES:
        step.clear()
        step.optimizer.add_noise()
        noise = torch.cat([p.grad.flatten() for p in step.gradients.parameters]) / planned
        count, total, squares = count + len(noise), total + noise.sum().item(), squares + noise.square().sum().item()
    ratio = (squares / count) ** 0.5
    room, drift = STANDARD_ERRORS / (2 * count) ** 0.5, STANDARD_ERRORS / count**0.5
    if not (abs(ratio - 1) <= room and abs(total / count) <= drift):
        raise MechanismError(
            f"Self-check failed: the noise has {ratio:.4f} × the planned standard deviation σ·C = {planned:g} "
            f"and mean {total / count:.4f}; at most {room:.2g} and {drift:.2g} away from 1 and 0 is accepted."
        )
    return ratio
