"""What adding noise as whole numbers costs: σ and (ε, δ) of the rounded Gaussian mechanism.

**The attack.** Noise sampled in floating point takes only some of the values that the sum plus noise could take, so the
last digits of a released number can tell which sum it came from (Mironov 2012, "On significance of the least significant
bits for differential privacy"; Jin et al. 2022, "Are we there yet? Timing and floating-point attacks on differential
privacy systems", arXiv:2112.05307; Haney et al. 2022, "Precision-based attacks and interval refining", arXiv:2207.13793).

**The mechanism** (:mod:`privlab.dpsgd.rounded`). With the noise's standard deviation s and the grid g = s / 2³⁰, each
coordinate x of the clipped sum becomes the whole number n = rint(x / g), held within ±2⁵⁰, and n + K is released, where
K follows ⌊2³⁰·X⌋, X ~ N(0, 1). All that follows (n + K → float32 → weights) is post-processing.

**The ideal mechanism is exactly a Gaussian one.** n is whole, so n + ⌊2³⁰·X⌋ = ⌊n + 2³⁰·X⌋: rounding the output of the
Gaussian mechanism on n. Only the sensitivity of n is not C / g: rint moves a coordinate by at most ½, the float64 division
by at most 2⁵⁰·2⁻⁵³ = ⅛, so two neighbouring sums are rounded apart by at most 2·⅝ < 2 in each of d coordinates, and
‖n − n′‖ ≤ C / g + 2·√d by the triangle inequality (holding within ±2⁵⁰ brings two numbers no further apart). The rest of
the 2, ¾ and more, covers the rounding of s = σ·C itself. Hence 1/σ_accounted = 1/σ + 2·√d·2⁻³⁰. Where the step also
releases a count (adaptive clipping) with a share of σ, the triangle inequality on the scaled pair gives the same with
d + 1 coordinates; that is used throughout.

**The sampler is close to the ideal**, in two ways that add up (:mod:`privlab.dpsgd.whole_noise` derives both numbers):

1. Up to 56 standard deviations the probability of each K is within a factor 1 ± η of the ideal, η = 2⁻⁴⁸. Over d + 1
   coordinates and T steps densities are within e^{±κ}, κ = (d + 1)·T·η/(1 − η). For any pair of neighbours and any event,
   P̃(E) − e^{ε+2κ}·Q̃(E) ≤ e^κ·(P(E) − e^ε·Q(E)) ≤ e^κ·δ: ε grows by 2κ, δ by the factor e^κ.
2. Beyond 56 deviations K never comes. Q̃ may therefore lack an output that P̃ has only where P̃'s own noise is beyond
   56 − 2/σ deviations on some coordinate, because neighbours are at most 2/σ deviations apart (replace-one; 1/σ for
   add-or-remove-one). With σ ≥ 0.05 that is beyond 15, of which 14 are claimed: T·(d + 1)·2Φ(−14) is added to δ.

Both hold for subsampled steps, where P and Q are mixtures over batches: the accountants' bound holds even when the other
records' coin flips are told, and given these every comparison above is between Gaussians that far apart at most.

**Not covered**: the rounding of the float32 arithmetic that computes, clips and adds up the gradients (Casacuberta et al.
2022, "Widespread underestimation of sensitivity in differentially private libraries", arXiv:2207.10635), and timing.
"""

from __future__ import annotations

import math

#: Grid steps in a standard deviation of the noise, as a power of two.
GRID_BITS = 30
#: Whole numbers of the sum are held within ± 2 to this power.
CLAMP_BITS = 50
#: Deviations up to which noise is sampled, and how many of them are claimed when neighbours are furthest apart.
SUPPORT, CLAIMED = 56, 14
#: η: how far the sampler's probability of a whole number may be from the ideal one, as a share.
RELATIVE_ERROR = 2.0**-48


def rounded_noise_multiplier(noise_multiplier: float, dimension: int) -> float:
    """σ that the accountants count when noise of ``noise_multiplier`` is added on the grid; a little smaller.

    Args:
        noise_multiplier: σ, standard deviation of the noise over C; above 0.
        dimension: d, trained parameters.

    Raises:
        ValueError: a value out of its bounds.
    """
    if not noise_multiplier > 0:
        raise ValueError(f"noise_multiplier={noise_multiplier:g} must be above 0.")
    return noise_multiplier / (1 + noise_multiplier * _spacing(dimension))


def unrounded_noise_multiplier(accounted: float, dimension: int) -> float:
    """Smallest σ of noise on the grid that counts as at least ``accounted``: :func:`rounded_noise_multiplier` undone.

    Raises:
        ValueError: a value out of its bounds, or so much noise that no grid is fine enough.
    """
    if not accounted > 0:
        raise ValueError(f"accounted={accounted:g} must be above 0.")
    lost = accounted * _spacing(dimension)
    if lost >= 1:
        raise ValueError(f"accounted={accounted:g} with dimension={dimension:,} is beyond what the grid can carry.")
    sigma = accounted / (1 - lost)
    while rounded_noise_multiplier(sigma, dimension) < accounted:
        sigma = math.nextafter(sigma, math.inf)
    return sigma


def rounding_slack(dimension: int, steps: int, delta: float) -> tuple[float, float]:
    """What the sampler's distance from the ideal adds: (to ε, to δ). The accountant is given δ less the second.

    Args:
        dimension: d, trained parameters.
        steps: T.
        delta: δ of the whole claim, in (0, 1).

    Raises:
        ValueError: a value out of its bounds.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1.")
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta:g} must lie above 0 and below 1.")
    draws = _coordinates(dimension) * steps
    kappa = draws * RELATIVE_ERROR / (1 - RELATIVE_ERROR)
    return 2 * kappa, delta * -math.expm1(-kappa) + draws * math.erfc(CLAIMED / math.sqrt(2))


def _spacing(dimension: int) -> float:
    """Rounding's share of the sensitivity, 2·√(d+1)·g in units of the noise's standard deviation."""
    return 2 * math.sqrt(_coordinates(dimension)) * 2.0**-GRID_BITS


def _coordinates(dimension: int) -> int:
    if dimension < 1:
        raise ValueError(f"dimension={dimension} must be at least 1.")
    return dimension + 1
