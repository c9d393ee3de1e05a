"""Opacus's optimiser for finished clipped sums, so that every method shares noise, scaling and update."""

from __future__ import annotations

from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.optimizers.optimizer import _check_processed_flag, _mark_as_processed
from torch.optim import Optimizer

from privlab.dpsgd.gaussian import NoiseSource


class NoisyOptimizer(DPOptimizerFastGradientClipping):
    """Opacus's optimiser with noise from our own source."""

    def __init__(self, optimizer: Optimizer, source: NoiseSource, **options):
        super().__init__(optimizer, **options)
        self.source = source

    def add_noise(self, owner: int | None = None) -> None:
        """``p.grad`` = clipped sum + noise, or + the share of it that ``owner`` adds; Opacus's mark refuses to release one
        sum twice."""
        sums = [p.summed_grad for p in self.params]
        for total in sums:
            _check_processed_flag(total)
        source = self.source if owner is None else self.source.share(owner)
        noisy = source.perturb(sums, self.noise_multiplier * self.max_grad_norm)
        for p, value in zip(self.params, noisy, strict=True):
            p.grad = value.view_as(p)
            _mark_as_processed(p.summed_grad)
