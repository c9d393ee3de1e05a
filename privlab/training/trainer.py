"""The moving parts of one run, put together from one plan: model, private step, batches, average, checkpoints."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from privlab.data.load import Dataset
from privlab.data.secrets import secrets_of
from privlab.dpsgd.augment import MovedPictures
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.diagnostics import Diagnostics
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.onepass import OnePassGradients
from privlab.dpsgd.randomness import coins
from privlab.dpsgd.sampling import CyclicSampler, PoissonSampler, ShuffledSampler
from privlab.dpsgd.selfcheck import SelfCheck, self_check
from privlab.dpsgd.step import PrivateStep
from privlab.dpsgd.views import AS_THEY_ARE, ShortTexts, TextsOfUsers, Views, lengths
from privlab.encryption.store import open_store
from privlab.encryption.store.tls import Certificates
from privlab.metrics import SUBSET
from privlab.models.build import build
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.tokens import tokenizer
from privlab.paths import certificates_dir, kernels_file
from privlab.preflight import Preflight
from privlab.training.average import WeightAverage, corrected
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.evaluate import Evaluation, evaluate
from privlab.training.exposure import Exposure, exposures
from privlab.training.handover import Handover, flat_parameters
from privlab.training.optimizers import AdamCorrected, optimizer_for
from privlab.training.owners import OwnersSampler
from privlab.training.weights import load_trained, trained_state

#: Bytes of the logits of texts at once; gradients and the softmax need several times as much.
_LOGITS = 256 << 20
#: Bytes that layers keep of texts at once for the way back; gradients need about as much again.
_KEPT = 1 << 30


class Trainer:
    """A run between two steps.

    Args:
        checked: settings, plan and facts.
        dataset: the inputs that the model takes, in memory.
        device: where to compute; the data are moved there whole.

    Raises:
        MechanismError: the model has a layer without per-record gradients.
    """

    def __init__(self, checked: Preflight, dataset: Dataset, device: torch.device):
        config, plan = checked.config, checked.plan
        self.config, self.plan, self.device = config, plan, device
        self._x, self._y = dataset.train_x.to(device), dataset.train_y.to(device)
        self._test_x, self._test_y = dataset.test_x.to(device), dataset.test_y.to(device)
        chosen = config.model
        self.model = build(chosen.name, checked.dataset, config.training.seed, checked.trains, chosen.lora_rank).to(
            device
        )
        if device.type == "cpu":
            # Convolutions on the CPU are up to twice as fast this way; layers without 4-dimensional weights ignore it.
            self.model.to(memory_format=torch.channels_last)
        self._trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self._pad = tokenizer(chosen.name).pad if chosen.name in TRANSFORMERS else None
        self._lengths = lengths(self._x, self._pad) if self._pad is not None and self._x.dim() == 2 else None
        privacy, training = config.privacy, config.training
        self._keeps_streams = privacy.randomness == "reproducible"
        self._noise = noise_source(
            privacy.randomness,
            privacy.protection,
            plan.bands,
            device,
            training.seed,
            plan.owners,
            plan.fewest_owners,
        )
        if plan.owners > 1:
            self._sampler = OwnersSampler(plan, privacy.randomness, training.seed)
        elif plan.bands > 1:
            flips = coins(privacy.randomness, training.seed)
            self._sampler = CyclicSampler(plan.records, plan.batch_size, plan.bands, flips)
        elif plan.shuffled:
            flips = coins(privacy.randomness, training.seed)
            self._sampler = ShuffledSampler(plan.records, plan.batch_size, flips)
        else:
            flips = coins(privacy.randomness, training.seed)
            self._sampler = PoissonSampler(plan.records, plan.sample_rate, flips)
        self.method = checked.gradient_method
        self._optimizer = optimizer_for(self._trained.values(), training)
        self._step = PrivateStep(
            self.model,
            plan,
            self.method,
            self._optimizer,
            self._noise,
            self._most_at_once(),
            self._views(),
            precision=getattr(torch, config.performance.precision),
            # Trials decide by time, so what they choose differs from process to process.
            kernels=None if self._keeps_streams else Kernels(kernels_file()),
        )
        decay = training.ema_decay
        self._average = WeightAverage(self._trained, decay) if decay else None
        self._diagnostics = Diagnostics(plan, self._step.dimension)
        self._handover = Handover(self._trained, config, plan) if config.encryption.is_store else None
        self._put: Tensor | None = None
        self.clock = PhaseClock(device)
        self.step = 0

    def _most_at_once(self) -> int:
        """The physical batch of the settings; fewer texts where what is kept of them would need too much memory.

        A system that gives memory away on trust ends a process that uses it, so there is nothing to wait for and halve.
        """
        most = self.config.performance.physical_batch_size
        if self._x.is_floating_point():
            return most
        logits, kept = _kept(self.model, self._test_x[:1])
        # A GPU says itself when it is full, and fewer are taken then.
        fit = most if self.device.type == "cuda" else _KEPT // kept
        return max(1, min(most, fit, _LOGITS // (logits.numel() * logits.element_size())))

    def _views(self) -> Views:
        data, training = self.config.data, self.config.training
        seed = training.seed if self._keeps_streams else None
        if data.unit == "user":
            return TextsOfUsers(data.user_records, seed, self._pad)
        if self._pad is not None:
            return ShortTexts(self._pad)
        return MovedPictures(training.augmentations, seed) if training.augmentations > 1 else AS_THEY_ARE

    def _batch(self, drawn: np.ndarray) -> Tensor:
        """Indices of a batch on the device; of texts the shortest first, so that those computed together have one length."""
        batch = torch.from_numpy(drawn).to(self.device)
        return batch if self._lengths is None else batch[self._lengths[batch].argsort(stable=True)]

    @property
    def dimension(self) -> int:
        """d, the number of trained parameters."""
        return self._step.dimension

    @property
    def fallbacks(self) -> list[str]:
        """Layers that one-pass leaves to Opacus's per-sample gradients, by name."""
        gradients = self._step.gradients
        return gradients.fallbacks if isinstance(gradients, OnePassGradients) else []

    @property
    def full_texts(self) -> float:
        """Share of the test texts that fill all tokens which the model reads, so that what they may have beyond is cut off."""
        if self._pad is None:
            return 0.0
        return (lengths(self._test_x, self._pad) == self._test_x.shape[1]).double().mean().item()

    @property
    def context(self) -> int:
        """Tokens of a text that the model reads."""
        return self._test_x.shape[1]

    def check_mechanism(self) -> SelfCheck:
        """Check clip and noise on test records. Raises MechanismError."""
        return self_check(self._step, self._test_x, self._test_y)

    def open_store(self) -> None:
        """Start the parameter store of the settings, if they name one, with the parameters as they are now.

        Call after :meth:`restore`, and :meth:`close` at the end.

        Raises:
            StoreError: it cannot be started, reached or trusted, or cannot hold the parameters.
        """
        if self._handover:
            vector = flat_parameters(self._trained) if self._put is None else self._put.numpy()
            encryption = self.config.encryption
            store = open_store(
                encryption.mode,
                self.dimension,
                owners=self._handover.contributors,
                address=encryption.server or None,
                tls=Certificates.client(certificates_dir()) if encryption.server else None,
            )
            self._handover.begin(store, vector, self.step)

    def close(self) -> None:
        """End the parameter store, if there is one."""
        if self._handover:
            self._handover.close()

    def advance(self, watch: bool) -> None:
        """Do the next logical batch; ``watch`` says that a point follows."""
        self.clock.begin(watch)
        noise_variance = (self._step.noise_std / self.plan.batch_size) ** 2
        if self._handover:
            self._advance_store(self._handover, noise_variance, watch)
        else:
            batch = self._batch(self._sampler.draw())
            self.clock.lap("repeat")
            if isinstance(self._optimizer, AdamCorrected):
                self._optimizer.noise_variance = noise_variance
            report = self._step.run(self._x, self._y, batch, self.clock, watch)
            self._diagnostics.add(report)
        if self._average:
            self._average.update()
            self.clock.lap("update")
        self.step += 1

    def _advance_store(self, handover: Handover, noise_variance: float, watch: bool) -> None:
        step = self.step + 1
        handover.open(self.clock)
        several = self.plan.owners > 1
        drawn = self._sampler.draw(handover.absent(step)) if several else {0: self._sampler.draw()}
        batches = {owner: self._batch(batch) for owner, batch in drawn.items()}
        self.clock.lap("repeat")

        def deliver(owner: int) -> None:
            handover.deliver(owner, step, noise_variance, self.clock)

        report = self._step.run_owners(self._x, self._y, batches, self.clock, deliver, watch)
        self._diagnostics.add(report)
        handover.commit(step, self.clock, noise_variance)
        if watch or self._average:
            handover.open(self.clock)

    def held_by_server(self) -> bytes | None:
        """A look into the server of an encrypted store; None where there is none."""
        return self._handover.held_by_server() if self._handover else None

    def diagnostics(self) -> dict[str, float]:
        """Private diagnostics since the last call, and what the store has cost."""
        store = self._handover.metrics() if self._handover else {}
        return self._diagnostics.collect() | store

    def evaluate(self, everything: bool) -> Evaluation:
        """Measure the released weights on all test records, or on the first 2,000."""
        weights, most = self._released(), None if everything else SUBSET
        return evaluate(self.model, self._test_x, self._test_y, weights=weights, most=most, pad=self._pad)

    def exposures(self) -> tuple[Exposure, ...]:
        """What the released weights give away of the planted secrets; none where none are planted."""
        if not self.config.data.secrets:
            return ()
        return exposures(
            self.model,
            tokenizer(self.config.model.name),
            secrets_of(self.config),
            context=self.context,
            device=self.device,
            weights=self._released(),
        )

    def _released(self) -> dict[str, Tensor] | None:
        """Weights that are released in the place of the model's own parameters, which are brought up to date; None for none."""
        self._refresh()
        return corrected(self._average.sums, self.config.training.ema_decay, self.step) if self._average else None

    def checkpoint(self, seconds: float) -> Checkpoint:
        """A copy of the state, on the CPU. Call between steps only."""
        self._refresh()
        state = self._optimizer.state
        if self._handover:
            optimizer = self._handover.optimizer_state()
        else:
            optimizer = {
                name: {key: t for key, t in state[p].items() if isinstance(t, Tensor)}
                for name, p in self._trained.items()
                if p in state
            }
        return Checkpoint(
            config=self.config,
            plan=self.plan,
            step=self.step,
            seconds=seconds,
            parameters={name: _copy(t) for name, t in trained_state(self.model).items()},
            optimizer={name: {key: _copy(t) for key, t in held.items()} for name, held in optimizer.items()},
            average={name: _copy(t) for name, t in self._average.sums.items()} if self._average else {},
            stored=torch.from_numpy(self._handover.stored.copy()) if self._handover else None,
            clip=self._step.clip_state,
            batch_stream=self._sampler.state if self._keeps_streams else None,
            noise_stream=self._noise.state if self._keeps_streams else None,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from ``checkpoint``; in a private run with fresh entropy.

        Raises:
            CheckpointError: made under another guarantee, or for another network.
        """
        checkpoint.require_continuation(self.config, self.plan)
        try:
            load_trained(self.model, checkpoint.parameters)
        except ValueError as error:
            raise CheckpointError(f"The checkpoint does not fit the model: {error}") from None
        if self._handover:
            self._handover.load_optimizer_state(checkpoint.optimizer)
            self._put = checkpoint.stored
        else:
            fresh = self._optimizer.state_dict()
            names = enumerate(self._trained)
            states = {i: checkpoint.optimizer[name] for i, name in names if name in checkpoint.optimizer}
            self._optimizer.load_state_dict({"state": states, "param_groups": fresh["param_groups"]})
        if self._average:
            for name, total in self._average.sums.items():
                total.copy_(checkpoint.average[name])
        if self._keeps_streams:
            places = (checkpoint.batch_stream, checkpoint.noise_stream)
            if not all(isinstance(place, int | list) for place in places):
                raise CheckpointError(
                    "The checkpoint lacks its places in this version's random streams; clone the run."
                )
            self._sampler.state = checkpoint.batch_stream
            self._noise.state = checkpoint.noise_stream
        self._step.go_on_from(checkpoint.step, checkpoint.clip)
        self._sampler.step = self.step = checkpoint.step

    def _refresh(self) -> None:
        """Give the model what the store holds."""
        if self._handover:
            self._handover.open()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _kept(model: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """What a model makes of ``x``, and the bytes that are kept for the way back besides its parameters, at least 1."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        # By storage: what is kept twice, once turned around, takes room once.
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            found[place] = max(found.get(place, 0), tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model(x)
    return logits.detach(), max(1, sum(found.values()))
