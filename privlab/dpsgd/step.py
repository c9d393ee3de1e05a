"""One step of private SGD (Abadi et al. 2016, algorithm 1): steps 3 to 6 of the article."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from opacus.optimizers import DPOptimizerFastGradientClipping
from torch import Tensor, nn
from torch.optim import Optimizer

from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.gradients import Chunk, gradients_for, quickest_chunk
from privlab.dpsgd.guards import MechanismError
from privlab.privacy.plan import PrivacyPlan


@dataclass(frozen=True)
class StepReport:
    """What one step showed; private diagnostics, still as tensors.

    Attributes:
        batch_size: records that the coin flips drew.
        chunks: what each physical chunk showed.
        signal: norm of the clipped sum before noise, shape (); None unless asked for.
    """

    batch_size: int
    chunks: tuple[Chunk, ...]
    signal: Tensor | None

    @property
    def dropped(self) -> int:
        return sum(chunk.dropped for chunk in self.chunks)


class PrivateStep:
    """Clips, perturbs and updates as one :class:`PrivacyPlan` says; Opacus's optimiser adds and scales the noise.

    Args:
        model: the network; what trains is settled.
        plan: the one source of σ, C and B.
        method: ``hooks`` or ``ghost``.
        optimizer: updates ``model``'s trainable parameters.
        generator: the stream of noise, on the model's device.
        physical_batch_size: most records in memory at once, fewer where that is faster; does not change the result.

    Raises:
        MechanismError: a layer that has no per-record gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: PrivacyPlan,
        method: str,
        optimizer: Optimizer,
        generator: torch.Generator,
        physical_batch_size: int,
    ):
        self.plan = plan
        self.gradients = gradients_for(method, model, plan.max_grad_norm)
        device = self.gradients.parameters[0].device
        self.physical_batch_size = quickest_chunk(self.gradients, device, physical_batch_size)
        # This optimiser takes a finished clipped sum, so hooks and ghost share noise, scaling and update.
        self.optimizer = DPOptimizerFastGradientClipping(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.max_grad_norm,
            # The public B, never the realised size, which would make one record change every other's weight.
            expected_batch_size=plan.batch_size,
            loss_reduction="mean",
            generator=generator,
        )
        self._trains = [(p, p.requires_grad) for p in model.parameters()]
        self.dimension = sum(p.numel() for p in self.gradients.parameters)

    def run(self, x: Tensor, y: Tensor, batch: Tensor, clock: PhaseClock, watch: bool = False) -> StepReport:
        """Do one logical batch; an empty one is noise only, and counts all the same.

        Args:
            x: all inputs, (N, …).
            y: all labels, (N,).
            batch: indices of this batch, int64 on x's device, any number of them.
            clock: told the time that each phase takes.
            watch: also measure the length of the clipped sum.

        Raises:
            MechanismError: clip, noise or what trains no longer agree with the plan.
        """
        self.check()
        self.clear()
        clock.lap("load")
        chunks = []
        for part in batch.split(self.physical_batch_size) if len(batch) else ():
            records, labels = x[part], y[part]
            clock.lap("repeat")
            self.gradients.differentiate(records, labels)  # 3 compute per-sample gradients
            clock.lap("gradients")
            chunks.append(self.gradients.clip())  # 4 clip the gradients
            self.optimizer.accumulate()
            clock.lap("clip")
        signal = self.clipped_sum_norm() if watch else None
        clock.lap("clip")
        self.perturb()  # 5 perturb them
        clock.lap("perturb")
        self.optimizer.original_optimizer.step()  # 6 update the parameters with the perturbed gradients
        clock.lap("update")
        return StepReport(len(batch), tuple(chunks), signal)

    def clear(self) -> None:
        """Empty every gradient and the running sum, so that nothing of an earlier batch is left."""
        self.optimizer.zero_grad(set_to_none=True)
        for p in self.gradients.parameters:
            p.summed_grad = torch.zeros_like(p)

    def clipped_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """Clipped gradient sum of the given records, one flat vector (d,). For checks: training uses :meth:`run`."""
        self.clear()
        for records, labels in zip(x.split(self.physical_batch_size), y.split(self.physical_batch_size), strict=True):
            self.gradients.differentiate(records, labels)
            self.gradients.clip()
            self.optimizer.accumulate()
        return torch.cat([p.summed_grad.flatten() for p in self.gradients.parameters])

    def clipped_sum_norm(self) -> Tensor:
        return torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(p.summed_grad) for p in self.gradients.parameters])
        )

    def perturb(self) -> None:
        """``p.grad`` = (clipped sum + N(0, (σC)²)) / B, noise drawn once for the logical batch."""
        if self.plan.noise_multiplier > 0:
            self.optimizer.add_noise()
        else:
            for p in self.gradients.parameters:
                p.grad = p.summed_grad
        self.optimizer.scale_grad()

    def check(self) -> None:
        """Clip, noise and normalisation must be those of the plan, and the trained parameters those wrapped.

        Opacus's own clip schedulers change the noise and not the clip; here such a difference ends the run.

        Raises:
            MechanismError: names both values.
        """
        plan, optimizer, clip = self.plan, self.optimizer, self.gradients.max_grad_norm
        for what, planned, actual in (
            ("max_grad_norm of the clip", plan.max_grad_norm, clip),
            ("max_grad_norm of the noise", plan.max_grad_norm, optimizer.max_grad_norm),
            ("noise_multiplier", plan.noise_multiplier, optimizer.noise_multiplier),
            ("expected batch size", plan.batch_size, optimizer.expected_batch_size),
        ):
            if planned != actual:
                raise MechanismError(f"{what} is {actual}, but the plan that ε is computed from says {planned}.")
        if any(p.requires_grad != trained for p, trained in self._trains):
            raise MechanismError(
                "Which parameters train was changed after wrapping; the clip no longer covers them all."
            )
