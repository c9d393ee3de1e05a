"""The training loop's side of a parameter store: it opens the parameters for each step and hands the owners' updates over.

**Ciphertexts added by the store** (``aggregation="homomorphic"``): each owner turns its own clipped and noised gradients into
its update, momentum included, which is linear: the sum of the owners' updates is the update of the sum. All owners take
part in every step.

**Masks that cancel** (``"masks"``): each owner masks its clipped and noised gradients (:mod:`privlab.encryption.masks`), the
owners learn their sum and nothing else, the summing party nothing, for the sum is under a key that the owners share; the
update computed from it goes to the store as one contribution.
Momentum belongs to the sum here. An owner that misses a step and kept a momentum of its own would, at the next step, send
gradients that were released before once more, beside less noise, which ε does not count.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from privlab.config import RunConfig, TrainingConfig
from privlab.dpsgd.clock import PhaseClock
from privlab.encryption.fixedpoint import PAD_MODULUS, RangeError, decode, encode
from privlab.encryption.masks import secure_sum, veil
from privlab.encryption.store import ParameterStore, StoreError
from privlab.privacy.plan import PrivacyPlan
from privlab.training.optimizers import AdamCorrected, optimizer_for

#: Bytes of a look into the server.
_LOOK = 6144


class Handover:
    """Keeps model and store in step.

    Args:
        trained: the trained parameters by name; their order is that of the store's vector.
        config, plan: of the run.

    Attributes:
        stored: what the store held when it was last opened, (d,) float64.
    """

    def __init__(self, trained: Mapping[str, Tensor], config: RunConfig, plan: PrivacyPlan):
        self._trained, self._config, self._plan = trained, config, plan
        self._masks = config.encryption.masks
        self.contributors = 1 if self._masks else plan.owners
        self._movers = [_Mover(trained, config.training) for _ in range(self.contributors)]
        self._store: ParameterStore | None = None
        self._label, self._key = secrets.token_bytes(16), secrets.token_bytes(32)
        self.stored = np.zeros(0)
        self._twin = np.zeros(0)
        self._stale = False
        self._words: dict[int, np.ndarray] = {}
        self._forget()

    def _forget(self) -> None:
        self._steps, self._sent, self._received = 0, 0, 0
        self._before = self._store.traffic.copy() if self._store else None

    def begin(self, store: ParameterStore, vector: np.ndarray, step: int) -> None:
        """Put ``vector`` (d,) float64 into an empty store as the state after ``step`` steps. Raises StoreError."""
        self._store = store
        store.put(vector, step)
        self._twin, self._stale = vector.copy(), True
        self._open()
        # What the first state costs is not part of a step.
        self._forget()

    def close(self) -> None:
        """End the store; harmless where there is none."""
        if self._store:
            self._store.close()

    def absent(self, step: int) -> frozenset[int]:
        """Owners that drop out of ``step``, by coin flips that have nothing to do with the records.

        Where more drop out than the noise and the masks allow, the round is given up before anything is uncovered, and
        the coins are flipped again.
        """
        rate, most = self._config.encryption.dropout_rate, self._plan.dropouts
        if not (self._masks and rate):
            return frozenset()
        known = self._config.privacy.randomness == "reproducible"
        flips = np.random.default_rng([self._config.training.seed, step] if known else None)
        while True:
            gone = np.flatnonzero(flips.random(self._plan.owners) < rate)
            if len(gone) <= most:
                return frozenset(gone.tolist())

    def open(self, clock: PhaseClock | None = None) -> None:
        """1 load the parameters: fetch them, decrypt them and copy them into the model, unless it has them already.

        Raises:
            StoreError: the store is gone, or what it sent was changed.
        """
        if self._stale:
            with self._timed(clock, "load"):
                self._open()

    def _open(self) -> None:
        self.stored = self._store.open()
        _copy_into(list(self._trained.values()), self.stored)
        self._stale = False

    def deliver(self, owner: int, step: int, noise_variance: float, clock: PhaseClock) -> None:
        """Take the gradients in ``p.grad``: ``owner``'s clipped sum and share of the noise, over B, for ``step`` (from 1).

        Args:
            noise_variance: of one coordinate of the mean gradient of all owners.

        Raises:
            StoreError: refused by the store, or a number that fixed point does not hold.
        """
        gradients = [p.grad for p in self._trained.values()]
        if self._masks:
            self._words[owner] = words = _words(_flat(gradients))
            veil(words, self._key, self._round(step), owner)
            clock.lap("encrypt")
        else:
            self._contribute(owner, self._movers[owner].update(gradients, noise_variance), step, clock)

    def commit(self, step: int, clock: PhaseClock, noise_variance: float) -> None:
        """6 update the parameters: let the store add up what the owners delivered for ``step``.

        Args:
            noise_variance: of one coordinate of the mean gradient, were its noise exactly σ·C.

        Raises:
            StoreError, MaskError: an owner is missing, or the update came before; the state stays as it was.
        """
        if self._masks:
            words, self._words = self._words, {}
            found = secure_sum(words, self._plan.owners, self._plan.fewest_owners, self._round(step))
            self._sent += found.sent
            self._received += found.received
            for owner in found.owners:
                veil(found.words, self._key, self._round(step), owner, lift=True)
            summed = decode(found.words.view(np.int32))
            clock.lap("encrypt")
            # More owners than are needed bring more noise.
            noise_variance *= len(found.owners) / self._plan.fewest_owners
            self._contribute(0, self._movers[0].update(self._as_gradients(summed), noise_variance), step, clock)
        with self._timed(clock, "update"):
            self._store.commit(step)
        self._stale = True
        self._steps += 1

    def _contribute(self, owner: int, update: np.ndarray, step: int, clock: PhaseClock) -> None:
        clock.lap("update")
        with self._timed(clock, "encrypt"):
            self._store.contribute(owner, update, step)
        self._twin += update

    def _round(self, step: int) -> bytes:
        """A label that no other round has."""
        return self._label + struct.pack(">Q", step)

    def _as_gradients(self, vector: np.ndarray) -> list[Tensor]:
        gradients = [torch.empty_like(p) for p in self._trained.values()]
        _copy_into(gradients, vector)
        return gradients

    @contextmanager
    def _timed(self, clock: PhaseClock | None, rest: str) -> Iterator[None]:
        """Split the time of a call to the store by what the store says that it spent it on."""
        before = dict(self._store.traffic.seconds)
        yield
        if clock:
            clock.split({phase: s - before[phase] for phase, s in self._store.traffic.seconds.items()}, rest)

    def metrics(self) -> dict[str, float]:
        """Mean bytes a step since the last call, and how far the store is from the float64 sum of the updates."""
        self.open()
        traffic, before, steps = self._store.traffic, self._before, self._steps
        if not steps:
            return {}
        sent = self._sent + traffic.sent - before.sent
        received = self._received + traffic.received - before.received
        self._forget()
        drift = float(np.abs(self.stored - self._twin).max())
        return {"bytes_sent": sent / steps, "bytes_received": received / steps, "drift": drift}

    def held_by_server(self) -> bytes:
        """The first bytes of the state as the server holds it: what somebody sees who looks into it."""
        return self._store.raw(_LOOK)

    def optimizer_state(self) -> dict[str, dict[str, Tensor]]:
        """The optimisers' tensors by parameter name, then by key; with several owners ``key.owner``."""
        found: dict[str, dict[str, Tensor]] = {}
        for owner, mover in enumerate(self._movers):
            for name, state in mover.state(self._trained).items():
                tail = f".{owner}" if self.contributors > 1 else ""
                found.setdefault(name, {}).update({key + tail: tensor for key, tensor in state.items()})
        return found

    def load_optimizer_state(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take back :meth:`optimizer_state`."""
        for owner, mover in enumerate(self._movers):
            tail = f".{owner}" if self.contributors > 1 else ""
            mover.load_state(
                [
                    {key.removesuffix(tail): t for key, t in states.get(name, {}).items() if key.endswith(tail)}
                    for name in self._trained
                ]
            )


class _Mover:
    """One optimiser that says how far to move, and moves nothing: it works on zeros."""

    def __init__(self, trained: Mapping[str, Tensor], config: TrainingConfig):
        self._moves = [torch.zeros_like(p, requires_grad=False) for p in trained.values()]
        self._optimizer = optimizer_for(self._moves, config)

    def update(self, gradients: Sequence[Tensor], noise_variance: float = 0.0) -> np.ndarray:
        """The move, (d,) float64, for these gradients; no rule here looks at where the parameters are."""
        if isinstance(self._optimizer, AdamCorrected):
            self._optimizer.noise_variance = noise_variance
        for move, gradient in zip(self._moves, gradients, strict=True):
            move.zero_()
            move.grad = gradient
        self._optimizer.step()
        return _flat(self._moves)

    def state(self, names: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        held = self._optimizer.state
        return {
            name: {key: t for key, t in held[move].items() if isinstance(t, Tensor)}
            for name, move in zip(names, self._moves, strict=True)
            if move in held
        }

    def load_state(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        fresh = self._optimizer.state_dict()
        given = {i: dict(state) for i, state in enumerate(states) if state}
        self._optimizer.load_state_dict({"state": given, "param_groups": fresh["param_groups"]})


def flat_parameters(trained: Mapping[str, Tensor]) -> np.ndarray:
    """The parameters as a store holds them, (d,) float64."""
    return _flat([p.detach() for p in trained.values()])


def _flat(tensors: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([t.flatten() for t in tensors]).cpu().double().numpy()


@torch.no_grad()
def _copy_into(tensors: Sequence[Tensor], vector: np.ndarray) -> None:
    parts = torch.from_numpy(vector).split([t.numel() for t in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def _words(vector: np.ndarray) -> np.ndarray:
    """``vector`` in fixed point modulo 2³², as words."""
    try:
        return encode(vector, PAD_MODULUS).astype(np.uint32)
    except RangeError as error:
        raise StoreError(f"A gradient cannot be summed under masks: {error}") from None
