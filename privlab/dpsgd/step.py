"""One step of private SGD (Abadi et al. 2016, algorithm 1): steps 3 to 6 of the article."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from privlab.dpsgd.adaptive import QuantileClip
from privlab.dpsgd.chunks import ChunkSearch, forget, out_of_memory
from privlab.dpsgd.clipping import Clipping
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.gaussian import NoiseSource
from privlab.dpsgd.gradients import Chunk
from privlab.dpsgd.guards import BatchSizes, MechanismError, refuse_unsound
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.methods import gradients_for
from privlab.dpsgd.optimizer import NoisyOptimizer
from privlab.dpsgd.report import StepReport
from privlab.dpsgd.views import AS_THEY_ARE, Views
from privlab.privacy.plan import PrivacyPlan


class PrivateStep:
    """Clips, perturbs and updates as one :class:`PrivacyPlan` says; Opacus's optimiser sums, scales and updates.

    Args:
        model: the network; what trains is settled.
        plan: the one source of σ, C and B, at every step.
        method: ``one-pass``, ``hooks`` or ``ghost``.
        optimizer: updates ``model``'s trainable parameters.
        noise: where noise comes from.
        physical_batch_size: most rows (records times views) in memory at once, fewer where that is faster or where no more
            fit; changes nothing but rounding and which random views are drawn.
        views: what the model is given of each record: K rows, whose gradients are averaged before the clip.
        precision: of the forward and backward pass; ``torch.bfloat16`` with one-pass only.
        kernels: where given, what is quickest may be tried: of equal ways through a layer, and of records at once. Without
            it a run repeats bit for bit.

    Attributes:
        step_number: number of the coming step, from 1.

    Raises:
        MechanismError: a layer that has no per-record gradient, or a combination for which there is no sound step.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: PrivacyPlan,
        method: str,
        optimizer: Optimizer,
        noise: NoiseSource,
        physical_batch_size: int,
        views: Views = AS_THEY_ARE,
        precision: torch.dtype = torch.float32,
        kernels: Kernels | None = None,
    ):
        refuse_unsound(plan)
        self.plan, self.noise, self.views, self.precision = plan, noise, views, precision
        clipping = Clipping(plan.clipping, plan.stability) if plan.max_grad_norm is not None else None
        self.gradients = gradients_for(method, model, plan.max_grad_norm, clipping, views.count, precision, kernels)
        device = self.gradients.parameters[0].device
        self._search = ChunkSearch.of(self.gradients, device, physical_batch_size, views, kernels is not None)
        self.physical_batch_size = self._search.size
        self.adaptive = QuantileClip(plan) if plan.adaptive else None
        # This optimiser takes a finished clipped sum, so hooks and ghost share noise, scaling and update.
        self.optimizer = NoisyOptimizer(
            optimizer,
            noise,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.max_grad_norm,
            # The public B, never the realised size, which would make one record change every other's weight.
            expected_batch_size=plan.batch_size,
            loss_reduction="mean",
        )
        self._sizes = BatchSizes(plan.batch_size, plan.bands)
        self._trains = [(p, p.requires_grad) for p in model.parameters()]
        self.dimension = sum(p.numel() for p in self.gradients.parameters)
        self.step_number = 1
        self._aim()

    def go_on_from(self, step: int, clip: float | None) -> None:
        """Make the step after ``step`` the coming one.

        Args:
            step: steps done.
            clip: ``clip_state`` after that step.

        Raises:
            MechanismError: ``clip`` is missing where C is adaptive, or given where it is not.
        """
        if (clip is None) != (self.adaptive is None):
            raise MechanismError(
                f"C={clip} does not go with clipping={self.plan.clipping}: only an adaptive C is kept."
            )
        if self.adaptive:
            self.adaptive.max_grad_norm = clip
        self.step_number = step + 1
        self._aim()

    @property
    def settled(self) -> bool:
        """Whether the number of records in memory at once is no longer on trial."""
        return self._search.settled

    @property
    def clip_state(self) -> float | None:
        """The C that was learnt for the coming step; None unless it is adaptive. It follows from released numbers."""
        return self.adaptive.max_grad_norm if self.adaptive else None

    @property
    def max_grad_norm(self) -> float | None:
        """C that the plan, or the adaptive rule, says for the coming step."""
        return self.adaptive.max_grad_norm if self.adaptive else self.plan.max_grad_norm_at(self.step_number)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the coming step's noise on the clipped sum; 0 without noise."""
        return (
            self.optimizer.noise_multiplier * self.optimizer.max_grad_norm if self.optimizer.noise_multiplier else 0.0
        )

    def _aim(self) -> None:
        """Set C and σ of the coming step: the only place that does."""
        self.gradients.max_grad_norm = self.optimizer.max_grad_norm = self.max_grad_norm
        self.optimizer.noise_multiplier = self.plan.gradient_noise_at(self.step_number)

    def run(self, x: Tensor, y: Tensor, batch: Tensor, clock: PhaseClock, watch: bool = False) -> StepReport:
        """Do one logical batch; an empty one is noise only, and counts all the same.

        Args:
            x: all inputs, (N, …).
            y: all labels, (N,).
            batch: indices of this batch, int64 on x's device, any number of them.
            clock: told the time that each phase takes.
            watch: also measure the length of the clipped sum.

        Raises:
            MechanismError: clip, noise, sampler or what trains no longer agree with the plan.
        """
        # 6 update the parameters with the perturbed gradients
        return self.run_owners(x, y, {0: batch}, clock, lambda _: self.optimizer.original_optimizer.step(), watch)

    def run_owners(
        self,
        x: Tensor,
        y: Tensor,
        batches: Mapping[int, Tensor],
        clock: PhaseClock,
        deliver: Callable[[int], None],
        watch: bool = False,
    ) -> StepReport:
        """:meth:`run` for owners that each clip and perturb the records of their own: one logical batch in several parts.

        Args:
            batches: indices of each owner's part of the batch, by the owner's number from 0.
            deliver: called for one owner after the other, when ``p.grad`` holds (that owner's clipped sum + its share of the
                noise) / B.

        Raises:
            MechanismError: as :meth:`run`; or too few owners, whose shares make too little noise, or one record twice.
        """
        self.check()
        self._check_owners(batches)
        drawn = sum(map(len, batches.values()))
        if self.plan.is_private:
            self._sizes.add(drawn)
        self.views.begin(self.step_number)
        chunks: tuple[Chunk, ...] = ()
        whole: list[Tensor] = []
        share, seconds = None, 0.0
        for owner, batch in batches.items():
            self.clear()
            clock.lap("load")
            began = perf_counter()
            chunks += self._accumulate(self._parts(x, y, batch, clock), clock.lap)
            seconds += perf_counter() - began
            if watch:
                own = [p.summed_grad for p in self.gradients.parameters]
                whole = [a + b for a, b in zip(whole, own, strict=True)] if whole else [part.clone() for part in own]
            clock.lap("clip")
            self.perturb(owner if self.plan.owners > 1 else None)  # 5 perturb them
            if self.adaptive:
                share = self.adaptive.released_share(chunks, self.noise, self.gradients.parameters[0].device)
            clock.lap("perturb")
            deliver(owner)
            clock.lap("update")
        sigma = float(self.plan.noise_multiplier_at(self.step_number))
        signal = _norm(whole) if watch else None
        self._search.took(drawn, seconds)
        self.physical_batch_size = self._search.size
        report = StepReport(drawn, chunks, signal, self.max_grad_norm, sigma, self.noise_std, share)
        if self.adaptive:
            self.adaptive.follow(share)
        self.step_number += 1
        self._aim()
        return report

    def _parts(self, x: Tensor, y: Tensor, batch: Tensor, clock: PhaseClock) -> Iterable[tuple[Tensor, Tensor]]:
        # Even parts: a small rest would cost a whole chunk's overhead.
        for part in batch.chunk(-(-len(batch) // self.physical_batch_size)) if len(batch) else ():
            # Four times as fast as x[part] on the CPU.
            rows = self.views.of(x.index_select(0, part), y.index_select(0, part), part)
            clock.lap("repeat")
            yield rows

    def _accumulate(
        self, parts: Iterable[tuple[Tensor, Tensor]], lap: Callable[[str], None] = lambda phase: None
    ) -> tuple[Chunk, ...]:
        """Add the clipped gradients of each physical chunk to the running sum; of its halves, where it does not fit."""
        chunks = []
        for part in parts:
            waiting = [part]
            while waiting:
                rows, labels = waiting.pop()
                records = len(labels) // self.views.count
                if records <= self.physical_batch_size and (chunk := self._clipped(rows, labels, lap)):
                    chunks.append(chunk)
                    self.optimizer.accumulate()
                    lap("clip")
                else:
                    half = records // 2 * self.views.count
                    waiting += [(rows[half:], labels[half:]), (rows[:half], labels[:half])]
        return tuple(chunks)

    def _clipped(self, rows: Tensor, labels: Tensor, lap: Callable[[str], None]) -> Chunk | None:
        """Leave the clipped sum of some records in ``p.grad``; or None, and a smaller physical batch, if memory ran out."""
        try:
            self.gradients.differentiate(rows, labels)  # 3 compute per-sample gradients
            lap("gradients")
            return self.gradients.clip()  # 4 clip the gradients
        except Exception as error:
            records = len(labels) // self.views.count
            if records == 1 or not out_of_memory(error):
                raise
        # Out of the handler, so that the error no longer holds on to what the pass had made.
        forget(self.gradients.module)
        self._search.limit(records // 2)
        self.physical_batch_size = min(self.physical_batch_size, self._search.size)
        return None

    def clear(self) -> None:
        """Empty every gradient and the running sum, so that nothing of an earlier batch is left."""
        for p in self.gradients.parameters:
            p.grad = p.grad_sample = None
            p.summed_grad = torch.zeros_like(p)

    def summarise(self, x: Tensor, y: Tensor) -> tuple[list[Tensor], tuple[Chunk, ...]]:
        """Clipped gradient sum of the given records, by parameter, and what the chunks showed. For checks: training uses
        :meth:`run`.

        Args:
            x: (n·K, …), K views of each record in a row.
            y: their labels, (n·K, …).
        """
        self.clear()
        rows = self.physical_batch_size * self.views.count
        parts = zip(x.split(rows), y.split(rows), strict=True) if len(y) else ()
        chunks = self._accumulate(parts)
        return [p.summed_grad.clone() for p in self.gradients.parameters], chunks

    def clipped_sum(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum of :meth:`summarise` as one flat vector (d,)."""
        return torch.cat([total.flatten() for total in self.summarise(x, y)[0]])

    def perturb(self, owner: int | None = None) -> None:
        """``p.grad`` = (clipped sum + noise of deviation σC, or the share of it that ``owner`` adds) / B, noise drawn once
        for the logical batch."""
        if self.noise_std:
            self.optimizer.add_noise(owner)
        else:
            for p in self.gradients.parameters:
                p.grad = p.summed_grad
        self.optimizer.scale_grad()

    def check(self) -> None:
        """Clip, noise and normalisation must be those of the plan at the coming step, and the trained parameters those
        wrapped.

        Opacus's own clip schedulers change the noise and not the clip; here such a difference ends the run.

        Raises:
            MechanismError: names both values.
        """
        plan, optimizer, number = self.plan, self.optimizer, self.step_number
        if plan.is_private and number > plan.steps:
            raise MechanismError(f"Step {number} comes after the {plan.steps} steps that ε is computed from.")
        for what, planned, actual in (
            ("max_grad_norm of the clip", self.max_grad_norm, self.gradients.max_grad_norm),
            ("max_grad_norm of the noise", self.max_grad_norm, optimizer.max_grad_norm),
            ("noise_multiplier", plan.gradient_noise_at(number), optimizer.noise_multiplier),
            ("expected batch size", plan.batch_size, optimizer.expected_batch_size),
            ("owners of the noise", plan.owners, self.noise.owners),
            ("owners whose shares make the noise", plan.fewest_owners, self.noise.fewest),
        ):
            if planned != actual:
                raise MechanismError(
                    f"{what} is {actual} at step {number}, but the plan that ε is computed from says {planned}."
                )
        if self.adaptive:
            # Theorem 1 of Andrew et al. 2021: gradients and count together cost what one query with this σ does.
            together = (optimizer.noise_multiplier**-2 + (2 * self.adaptive.count_noise) ** -2) ** -0.5
            if together < plan.noise_multiplier_at(number) * (1 - 1e-9):
                raise MechanismError(
                    f"Gradients and the count of adaptive clipping together have σ={together:.6g} at step {number}, but the "
                    f"plan that ε is computed from says {plan.noise_multiplier_at(number):.6g}."
                )
        self.check_what_trains()

    def _check_owners(self, batches: Mapping[int, Tensor]) -> None:
        plan = self.plan
        strangers = sorted(batches.keys() - set(range(plan.owners)))
        if strangers or len(batches) < plan.fewest_owners:
            who = (
                f"owner {strangers[0]} is none of the {plan.owners}"
                if strangers
                else f"{len(batches)} owners take part"
            )
            raise MechanismError(
                f"At step {self.step_number} {who}; the noise that ε is computed from is the shares of {plan.fewest_owners} at least."
            )
        if plan.owners > 1:
            together = torch.cat(list(batches.values()))
            twice = len(together) - len(together.unique())
            if twice:
                raise MechanismError(
                    f"At step {self.step_number} {twice} records are in the batches of two owners; each would add up to 2 C."
                )

    def check_what_trains(self) -> None:
        """Raises MechanismError where what trains is not what was wrapped."""
        if any(p.requires_grad != trained for p, trained in self._trains):
            raise MechanismError(
                "Which parameters train was changed after wrapping; the clip no longer covers them all."
            )


def _norm(parts: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
