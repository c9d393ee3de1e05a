"""PrivLab's sampler, private step and secure noise, without the browser, the store and the points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.training.work import RATE, SIGMA, C, Work
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.randomness import coins
from privlab.dpsgd.sampling import PoissonSampler
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan

#: More steps than any benchmark takes: the step refuses to go past its plan.
_STEPS = 1_000_000
_TRIAL_STEPS = 16


def privlab(
    work: Work, device: torch.device, method: str = "one-pass", precision: torch.dtype = torch.float32
) -> Callable[[], int]:
    model = work.model().to(device)
    if device.type == "cpu":
        model.to(memory_format=torch.channels_last)
    x, y = (part.to(device) for part in work.records())
    plan = PrivacyPlan(
        records=len(x), batch_size=work.batch, steps=_STEPS, noise_multiplier=SIGMA, max_grad_norm=C, delta=1e-5
    )
    private = PrivateStep(
        model,
        plan,
        method,
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE),
        noise_source("private", "none", 1, device, None),
        work.physical,
        precision=precision,
        kernels=Kernels(),
    )
    sampler, clock = PoissonSampler(plan.records, plan.sample_rate, coins("private", None)), PhaseClock(device)

    def step() -> int:
        clock.begin(False)
        batch = torch.from_numpy(sampler.draw()).to(device)
        return private.run(x, y, batch, clock).batch_size

    # What a run finds out in its first steps and does not try again.
    for _ in range(_TRIAL_STEPS):
        if private.settled:
            break
        step()
    return step


hooks = partial(privlab, method="hooks")
ghost = partial(privlab, method="ghost")
bfloat16 = partial(privlab, precision=torch.bfloat16)
