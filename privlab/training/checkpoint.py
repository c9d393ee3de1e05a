"""The state of a run between two steps, as bytes: safetensors with JSON metadata. Nothing is ever unpickled.

**What a checkpoint leaves out.** A private run's checkpoint holds no state of the noise or batch streams. Whoever had
the file and the published weights of a later step could otherwise redraw the noise and subtract it. A resumed private
run takes fresh entropy from the operating system instead. That is the same mechanism: Poisson batches have no memory
and each step's noise is independent of every other's, so the stream may be changed between any two steps. Nor does doing
steps again cost anything: a point is published only after the checkpoint of its step is durable, so the steps after the
last checkpoint, which a crash makes the run repeat, have released nothing, and ε counts each step once. Only a
``reproducible`` run, which is not private anyway, keeps its streams, and then resumes bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from privlab.config import ConfigError, RunConfig
from privlab.privacy.plan import PrivacyPlan
from privlab.training.average import corrected

FORMAT = "privlab-checkpoint-1"
#: Attributes that are plain numbers, written only where there are any.
_NUMBERS = ("clip", "batch_stream", "noise_stream")
#: Parts of a plan that may differ in a continuation; the noise of the steps done is compared by itself.
_MAY_CHANGE = ("steps", "planned_steps", "target_epsilon", "epsilon_limit", "noise_schedule")


class CheckpointError(Exception):
    """A checkpoint that is damaged or does not belong to these settings, in plain words."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on after ``step``; tensors are on the CPU.

    Attributes:
        config, plan: what the run was started with.
        step: logical batches done.
        seconds: training and evaluation time so far.
        parameters: what the run changes of the model, by name (:func:`privlab.training.weights.trained_state`); of older versions
            all that the model has.
        optimizer: the optimiser's tensors by parameter name, then by key (``momentum_buffer`` …).
        average: running sums of the weight average by parameter name; empty if off.
        clip: C of the step to come, where it is learnt (a released number); None elsewhere.
        stored: the parameters as a store keeps them, (d,) float64; None where there is no store.
        batch_stream, noise_stream: places in the random streams, one or a list of one for each owner; None in a private run
            (see above).
    """

    config: RunConfig
    plan: PrivacyPlan
    step: int
    seconds: float
    parameters: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    clip: float | None = None
    stored: Tensor | None = None
    batch_stream: int | list[int] | None = None
    noise_stream: int | list[int] | None = None

    def to_bytes(self) -> bytes:
        """One safetensors file; :meth:`from_bytes` gives back an equal checkpoint."""
        tensors = {f"parameters/{name}": tensor for name, tensor in self.parameters.items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        if self.stored is not None:
            tensors["stored/vector"] = self.stored
        for name, state in self.optimizer.items():
            tensors |= {f"optimizer/{key}/{name}": tensor for key, tensor in state.items()}
        about = {
            "config": self.config.to_dict(),
            "plan": self.plan.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        about |= {key: value for key in _NUMBERS if (value := getattr(self, key)) is not None}
        packed = {name: tensor.contiguous() for name, tensor in tensors.items()}
        return safetensors.torch.save(packed, {"format": FORMAT, "checkpoint": json.dumps(about)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read :meth:`to_bytes`.

        Raises:
            CheckpointError: not a checkpoint, damaged, or of another version.
        """
        try:
            tensors = safetensors.torch.load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            notes = header.get("__metadata__", {})
            if notes.get("format") != FORMAT:
                raise CheckpointError(f"This is not a {FORMAT} file (format={notes.get('format')!r}).")
            about = json.loads(notes["checkpoint"])
            optimizer: dict[str, dict[str, Tensor]] = {}
            for path, tensor in _group(tensors, "optimizer").items():
                key, name = path.split("/", 1)
                optimizer.setdefault(name, {})[key] = tensor
            return cls(
                config=RunConfig.from_dict(about["config"]),
                plan=PrivacyPlan.from_dict(about["plan"]),
                step=int(about["step"]),
                seconds=float(about["seconds"]),
                parameters=_group(tensors, "parameters"),
                optimizer=optimizer,
                average=_group(tensors, "average"),
                stored=tensors.get("stored/vector"),
                **{key: about.get(key) for key in _NUMBERS},
            )
        except (SafetensorError, ConfigError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"The checkpoint is damaged and cannot be read: {error}") from None

    @property
    def weights(self) -> dict[str, Tensor]:
        """What the run releases at this step: the parameters, averaged where averaging is on."""
        decay = self.config.training.ema_decay
        return self.parameters | (corrected(self.average, decay, self.step) if self.average and self.step else {})

    def require_continuation(self, config: RunConfig, plan: PrivacyPlan) -> None:
        """Allow going on under ``config`` only if the guarantee of the steps done still holds as planned.

        More steps are allowed (that is what “extend” does), as are another name, device, encryption or curve.

        Raises:
            CheckpointError: names the first setting that differs, with both values.
        """
        ours, theirs = self.plan.to_dict(), plan.to_dict()
        for key in (f.name for f in fields(plan)):
            # The target only chose σ, which is compared; more steps are an extension.
            if key not in _MAY_CHANGE and ours.get(key) != theirs.get(key):
                raise _differs(key, ours.get(key), theirs.get(key))
        if self.plan.phases_until(self.step) != plan.phases_until(self.step):
            raise _differs(f"another σ in the first {self.step} steps", self.plan.noise_schedule, plan.noise_schedule)
        if plan.clip_schedule.is_stretched and plan.planned_steps != self.plan.planned_steps:
            raise _differs("planned_steps", self.plan.planned_steps, plan.planned_steps)
        if plan.steps < max(self.plan.steps, self.step):
            raise CheckpointError(
                f"steps={plan.steps} is fewer than the {max(self.plan.steps, self.step)} of the checkpoint; a run can only be extended."
            )
        for path, old, new in (
            ("data.dataset", self.config.data.dataset, config.data.dataset),
            ("model.name", self.config.model.name, config.model.name),
            *(
                (f"model.{key}", getattr(self.config.model, key), getattr(config.model, key))
                for key in ("trains", "lora_rank")
            ),
            *(
                (f"data.{key}", getattr(self.config.data, key), getattr(config.data, key))
                for key in ("unit", "user_records", "secrets", "secret_kind", "secret_repeats")
            ),
            ("privacy.randomness", self.config.privacy.randomness, config.privacy.randomness),
            # Each owner keeps a momentum of its own, or the sum has one.
            ("a sum by masks", self.config.encryption.masks, config.encryption.masks),
            *(
                (f"training.{key}", getattr(self.config.training, key), getattr(config.training, key))
                for key in ("optimizer", "learning_rate", "momentum", "augmentations", "ema_decay", "seed")
            ),
        ):
            if old != new:
                raise _differs(path, old, new)


def _differs(what: str, old: object, new: object) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint was made with {what}={old}, these settings say {what}={new}; start a new run instead."
    )


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    start = f"{group}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
