"""How the noisy mean gradient moves the parameters. All of it is post-processing: it costs no privacy."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from privlab.config import TrainingConfig


class AdamCorrected(Optimizer):
    """Adam without the bias that the noise puts into its second moment (DP-AdamBC; Tang, Shpilevskiy, Lécuyer 2024,
    arXiv:2312.14334, algorithm 1).

    The noise adds its variance φ = (σC/B)² to every squared gradient, so v̂ − φ estimates the signal's own second moment:
    θ ← θ − η·m̂ / √max(v̂ − φ, floor). φ may change from step to step; its average decays as v does.

    Args:
        parameters: θ.
        lr: η.
        floor: γ', smallest denominator squared.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        floor: float = 1e-8,
    ):
        super().__init__(parameters, {"lr": lr, "betas": betas, "floor": floor})
        #: φ of the step to come, told before each :meth:`step`.
        self.noise_variance = 0.0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move along the gradients in ``p.grad``; ``closure`` is not supported."""
        for group in self.param_groups:
            (first, second), lr, floor = group["betas"], group["lr"], group["floor"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["noise"] = torch.zeros(())
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] += 1
                count = state["step"].item()
                state["exp_avg"].lerp_(p.grad, 1 - first)
                state["exp_avg_sq"].mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                state["noise"].mul_(second).add_(self.noise_variance * (1 - second))
                unbiased = (state["exp_avg_sq"] - state["noise"].item()) / (1 - second**count)
                p.addcdiv_(state["exp_avg"], unbiased.clamp_(min=floor).sqrt_(), value=-lr / (1 - first**count))


def optimizer_for(parameters: Iterable[Tensor], config: TrainingConfig) -> Optimizer:
    """The optimiser that ``config`` names."""
    if config.optimizer == "adam":
        return Adam(parameters, lr=config.learning_rate)
    if config.optimizer == "adam-bc":
        return AdamCorrected(parameters, lr=config.learning_rate)
    return SGD(parameters, lr=config.learning_rate, momentum=config.momentum)
