"""Whether the noise is what the plan says: its spread and mean, over all parameters and for each, and that of a count."""

from __future__ import annotations

import torch
from scipy.special import gammainc, gammaincc

from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.step import PrivateStep

#: Noise values measured (at least) and how many standard errors of their spread are accepted: a sound mechanism is refused about
#: once in a million runs, one with 5 % too little noise always.
NOISE_VALUES, STANDARD_ERRORS = 1 << 16, 5.0
#: Noisy counts of adaptive clipping that are measured: half the noise is always found, 8 % too little nearly always.
COUNTS = 1 << 12
#: Chance that sound noise of one parameter, or of the count, is refused; on each side.
FALSE_ALARM = 1e-9


def _first_scale(bands: int) -> float:
    """Deviation of the first correlated noise: 1/c_0 of a strategy column c_k ∝ (2k choose k)/4^k of norm 1."""
    c, squares = 1.0, 1.0
    for k in range(1, bands):
        c *= (2 * k - 1) / (2 * k)
        squares += c * c
    return squares**0.5


def noise_ratio(step: PrivateStep) -> float:
    """Measured over planned standard deviation of the noise on the clipped sum.

    Raises:
        MechanismError: it, or that of one parameter, or the mean is too far off.
    """
    plan, parameters = step.plan, step.gradients.parameters
    planned = plan.gradient_noise_at(step.step_number) * step.max_grad_norm
    unit = planned * _first_scale(plan.bands)
    draws = -(-NOISE_VALUES // step.dimension)
    total, squares = 0.0, torch.zeros(len(parameters), dtype=torch.double)
    for _ in range(draws):
        step.clear()
        step.noise.reset()
        step.perturb()
        for i, p in enumerate(parameters):
            values = p.grad.cpu().double() * plan.batch_size / unit
            total += values.sum().item()
            squares[i] += values.square().sum()
    values = draws * step.dimension
    ratio, mean = (squares.sum().item() / values) ** 0.5, total / values
    room, drift = STANDARD_ERRORS / (2 * values) ** 0.5, STANDARD_ERRORS / values**0.5
    if not (abs(ratio - 1) <= room and abs(mean) <= drift):
        raise MechanismError(
            f"Self-check failed: the noise has {ratio:.4f} × the planned standard deviation σ·C = {planned:g} "
            f"and mean {mean:.4f}; at most {room:.2g} and {drift:.2g} away from 1 and 0 is accepted."
        )
    for name, places in step.gradients.layers:
        for i in places:
            own, found = draws * parameters[i].numel(), squares[i].item()
            if not _plausible(found, own):
                raise MechanismError(
                    f"Self-check failed in layer {name}: the noise of one of its parameters has "
                    f"{(found / own) ** 0.5:.4f} × the planned standard deviation σ·C = {planned:g}."
                )
    return ratio


def count_noise_ratio(step: PrivateStep) -> float:
    """The same of the noise on the count of adaptive clipping. Raises MechanismError."""
    plan, device = step.plan, step.gradients.parameters[0].device
    shares = torch.tensor([step.adaptive.released_share((), step.noise, device) for _ in range(COUNTS)])
    values = (shares.double() - 0.5) * plan.batch_size / plan.adaptive.count_noise
    total, mean = values.square().sum().item(), values.mean().item()
    if not (_plausible(total, COUNTS) and abs(mean) <= (STANDARD_ERRORS + 1) / COUNTS**0.5):
        raise MechanismError(
            f"Self-check failed: the noise on the count of adaptive clipping has {(total / COUNTS) ** 0.5:.4f} × the planned "
            f"standard deviation σ_b = {plan.adaptive.count_noise:g} and mean {mean:.4f}."
        )
    return (total / COUNTS) ** 0.5


def _plausible(squares: float, values: int) -> bool:
    """Whether so many N(0, 1) values have such a sum of squares (χ²) with a probability above the false alarm."""
    return min(gammainc(values / 2, squares / 2), gammaincc(values / 2, squares / 2)) >= FALSE_ALARM
