"""Broken ways for several owners to train together, each planted in the real code, each caught; and the sound twin, which passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from privlab.dpsgd import noise as noise_module
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.gaussian import NoiseSource
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.shares import SharedNoise
from privlab.dpsgd.step import PrivateStep
from privlab.encryption.store import StoreError, open_store
from privlab.privacy.plan import PrivacyPlan
from privlab.training import owners as owners_module
from privlab.training.owners import OwnersSampler, check_parts, parts

CPU = torch.device("cpu")
FIVE = PrivacyPlan(
    records=2000, batch_size=100, steps=40, noise_multiplier=1.2, max_grad_norm=0.5, delta=1e-5, owners=5
)
TOLERANT = replace(FIVE, dropouts=2)


def records(n: int = 2000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 30, generator=generator), torch.randint(0, 4, (n,), generator=generator)


def make(plan: PrivacyPlan = FIVE) -> PrivateStep:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 4))
    noise = noise_source("reproducible", "none", plan.bands, CPU, 7, plan.owners, plan.fewest_owners)
    return PrivateStep(model, plan, "ghost", torch.optim.SGD(model.parameters(), lr=0.1), noise, 16)


def train(step: PrivateStep, steps: int = 3, absent: frozenset[int] = frozenset()) -> np.ndarray:
    """What all owners together hand over, (steps, d)."""
    sampler, (x, y), found = OwnersSampler(step.plan, "reproducible", 5), records(), []
    for _ in range(steps):
        total = torch.zeros(step.dimension)

        def deliver(owner: int, total: Tensor = total) -> None:
            total += torch.cat([p.grad.flatten() for p in step.gradients.parameters])

        batches = {owner: torch.from_numpy(batch) for owner, batch in sampler.draw(absent).items()}
        step.run_owners(x, y, batches, PhaseClock(CPU), deliver)
        found.append(total.numpy())
    return np.array(found)


def check_and_train(step: PrivateStep) -> None:
    self_check(step, *records(12))
    train(step)


class _Silent(NoiseSource):
    def perturb(self, sums, std: float):
        return [total.clone() for total in sums]


def a_share_left_out(patch: pytest.MonkeyPatch) -> None:
    sound = SharedNoise.__init__

    def broken(self: SharedNoise, *args) -> None:
        sound(self, *args)
        self._shares[3] = _Silent()

    patch.setattr(SharedNoise, "__init__", broken)


def shares_for_all_owners(patch: pytest.MonkeyPatch) -> None:
    """Shares as if nobody could drop out, where two may."""
    patch.setattr(noise_module, "SharedNoise", lambda sources, fewest: SharedNoise(sources, len(sources)))


def shares_too_small(patch: pytest.MonkeyPatch) -> None:
    """σC/n, as if deviations added up and not variances."""
    sound = SharedNoise.__init__

    def broken(self: SharedNoise, sources, fewest: int) -> None:
        sound(self, sources, fewest)
        for share in self._shares:
            share._scale = 1 / fewest

    patch.setattr(SharedNoise, "__init__", broken)


def one_stream_for_all(patch: pytest.MonkeyPatch) -> None:
    """The owners' noise is not independent: all seeds alike."""
    patch.setattr(noise_module, "noise_stream", lambda policy, seed, owner=None: _STREAM(policy, seed, 0))


_STREAM = noise_module.noise_stream


def an_owner_left_out(patch: pytest.MonkeyPatch) -> None:
    sound = OwnersSampler.draw
    patch.setattr(OwnersSampler, "draw", lambda self, absent=(): sound(self, {4}))


def a_stranger_let_in(patch: pytest.MonkeyPatch) -> None:
    sound = OwnersSampler.draw
    patch.setattr(OwnersSampler, "draw", lambda self, absent=(): sound(self) | {5: np.array([0])})


def records_overlap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owners_module, "parts", lambda n, owners: [*parts(n, owners)[:-1], np.arange(0, n, owners)])


def batches_overlap(patch: pytest.MonkeyPatch) -> None:
    """Parts are right, and one owner draws from another's."""
    sound = OwnersSampler.draw

    def draw(self: OwnersSampler, absent=()) -> dict[int, np.ndarray]:
        drawn = sound(self, absent)
        return drawn | {1: np.union1d(drawn[1], drawn[0][:1])}

    patch.setattr(OwnersSampler, "draw", draw)


def twice_the_chance(patch: pytest.MonkeyPatch) -> None:
    """Each owner takes B of its own records, where all together should."""
    sound = owners_module.PoissonSampler
    patch.setattr(owners_module, "PoissonSampler", lambda n, q, flips: sound(n, 2 * q, flips))


@dataclass(frozen=True)
class Fault:
    name: str
    words: str
    plant: Callable[[pytest.MonkeyPatch], None]
    plan: PrivacyPlan = FIVE


FAULTS = [
    Fault("an owner's share of the noise left out", r"the noise has 0\.(89|90).* × the planned", a_share_left_out),
    Fault("shares too small", "× the planned standard deviation", shares_too_small),
    Fault("one stream for all owners", "× the planned standard deviation", one_stream_for_all),
    Fault("shares for all where two may be missing", "owners whose shares make", shares_for_all_owners, TOLERANT),
    Fault("an owner left out", "4 owners take part; the noise .* is the shares of 5 at least", an_owner_left_out),
    Fault("a stranger let in", "owner 5 is none of the 5", a_stranger_let_in),
    Fault("records of two owners", "400 belong to several owners", records_overlap),
    Fault("a record in two batches", "1 records are in the batches of two owners", batches_overlap),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_caught(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    with pytest.raises(MechanismError, match=fault.words):
        check_and_train(make(fault.plan))


@pytest.mark.parametrize("plan", [FIVE, TOLERANT, replace(FIVE, owners=2), replace(FIVE, owners=10)])
def test_sound_twin_passes(plan: PrivacyPlan) -> None:
    check_and_train(make(plan))


def test_twice_the_chance_is_noticed_over_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    train(make(), 40)
    twice_the_chance(monkeypatch)
    with pytest.raises(MechanismError, match="its sample rate is above that of the plan"):
        train(make(), 40)


@pytest.mark.parametrize(
    ("plan", "absent", "factor"),
    [(FIVE, frozenset(), 1.0), (TOLERANT, frozenset({0, 3}), 1.0), (TOLERANT, frozenset(), (5 / 3) ** 0.5)],
)
def test_what_the_owners_hand_over_has_the_noise_that_is_counted(plan, absent, factor: float) -> None:
    """Without gradients the sum is noise: σC/B with as few owners as may come, more with all of them (χ², 10⁻⁹)."""
    step = make(plan)
    noise = _without_gradients(step, absent)
    values = noise * plan.batch_size / (plan.noise_multiplier * plan.max_grad_norm * factor)
    squares = float(np.square(values, dtype=np.float64).sum())
    assert min(stats.chi2.cdf(squares, values.size), stats.chi2.sf(squares, values.size)) > 5e-10
    assert abs(values.mean()) < 6 / values.size**0.5


def _without_gradients(step: PrivateStep, absent: frozenset[int]) -> np.ndarray:
    """Batches of no records: 30 steps of noise alone."""
    found, nobody = [], torch.arange(0)
    for _ in range(30):
        total = torch.zeros(step.dimension)

        def deliver(owner: int, total: Tensor = total) -> None:
            total += torch.cat([p.grad.flatten() for p in step.gradients.parameters])

        batches = {owner: nobody for owner in range(5) if owner not in absent}
        step.run_owners(*records(1), batches, PhaseClock(CPU), deliver)
        found.append(total.numpy())
    return np.array(found)


@pytest.mark.parametrize("mode", ["plain", "pad"])
def test_an_update_is_committed_once(mode: str) -> None:
    store = open_store(mode, 3, owners=2)
    try:
        store.put(np.zeros(3), 0)
        store.contribute(0, np.ones(3), 1)
        with pytest.raises(StoreError, match="Owner 0 has given its update for revision 1 already"):
            store.contribute(0, np.ones(3), 1)
        with pytest.raises(StoreError, match="no update from owner 1"):
            store.commit(1)
        store.contribute(1, np.ones(3), 1)
        store.commit(1)
        with pytest.raises(StoreError):
            store.commit(1)
        with pytest.raises(StoreError, match="replay"):
            store.contribute(0, np.ones(3), 1)
        np.testing.assert_array_equal(store.open(), np.full(3, 2.0))
    finally:
        store.close()


@pytest.mark.parametrize("owners", [1, 2, 3, 7, 10])
def test_parts_divide_the_records(owners: int) -> None:
    found = parts(1442, owners)
    check_parts(found, 1442)
    assert max(map(len, found)) - min(map(len, found)) <= 1
    with pytest.raises(MechanismError, match="to none"):
        check_parts(found, 1443)
    with pytest.raises(MechanismError, match="do not divide"):
        check_parts(found, 1441)
