"""The private step: normalisation, empty batches, guards, self-check and diagnostics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from privlab.config.schedule import Schedule
from privlab.dpsgd.cipher import CipherStream
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.diagnostics import Diagnostics
from privlab.dpsgd.gaussian import CipherNoise
from privlab.dpsgd.guards import BatchSizes, MechanismError
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.metrics import METRICS, PHASES
from privlab.privacy.plan import PrivacyPlan

CPU = torch.device("cpu")
PLAN = PrivacyPlan(records=100, batch_size=10, steps=5, noise_multiplier=1.5, max_grad_norm=0.4, delta=1e-5)
CLIP_ONLY = replace(PLAN, noise_multiplier=0.0)
PLAIN = replace(PLAN, noise_multiplier=0.0, max_grad_norm=None)


def records(n: int = 100):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 6, generator=generator), torch.randint(0, 4, (n,), generator=generator)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


def make(plan: PrivacyPlan = PLAN, method: str = "ghost", physical: int = 16, momentum: float = 0.0) -> PrivateStep:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum)
    return PrivateStep(model, plan, method, optimizer, noise(7), physical)


def noise(seed: int) -> CipherNoise:
    return CipherNoise(CipherStream(seed, "noise"))


def flat(step: PrivateStep) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in step.gradients.parameters])


def moved(step: PrivateStep, batch: torch.Tensor, watch: bool = True):
    """How far one step with learning rate 1 moves the parameters, and its report."""
    before = flat(step).clone()
    report = step.run(*records(), batch, PhaseClock(CPU), watch)
    return before - flat(step), report


@pytest.mark.parametrize("method", ["hooks", "ghost"])
@pytest.mark.parametrize("size", [1, 3, 10, 40])
def test_update_is_the_clipped_sum_over_the_expected_size(method: str, size: int) -> None:
    batch = torch.arange(size)
    x, y = records()
    update, report = moved(make(CLIP_ONLY, method), batch)
    expected = make(CLIP_ONLY, method).clipped_sum(x[batch], y[batch]) / PLAN.batch_size
    torch.testing.assert_close(update, expected)
    assert report.batch_size == size
    torch.testing.assert_close(report.signal, (expected * PLAN.batch_size).norm())


def test_without_clipping_the_update_is_the_plain_mean_over_the_expected_size() -> None:
    x, y = records()
    batch = torch.arange(7)
    model = network()
    nn.functional.cross_entropy(model(x[batch]), y[batch], reduction="sum").backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()]) / PLAN.batch_size
    update, _ = moved(make(PLAIN), batch)
    torch.testing.assert_close(update, expected)


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_noise_is_drawn_once_for_a_batch_whatever_its_chunks(method: str) -> None:
    batch = torch.arange(40)
    one, _ = moved(make(PLAN, method, physical=64), batch)
    many, _ = moved(make(PLAN, method, physical=7), batch)
    torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_empty_batch_is_noise_alone_and_still_updates(method: str) -> None:
    step = make(PLAN, method)
    update, report = moved(step, torch.arange(0))
    expected = 0.6 * noise(7).normal(step.dimension, CPU)
    torch.testing.assert_close(update, expected / PLAN.batch_size)
    assert report.batch_size == 0 and report.chunks == ()
    again, _ = moved(step, torch.arange(12))
    assert again.isfinite().all()


def test_empty_batch_still_moves_by_momentum_without_noise() -> None:
    step = make(CLIP_ONLY, momentum=0.9)
    first, _ = moved(step, torch.arange(20))
    second, _ = moved(step, torch.arange(0))
    torch.testing.assert_close(second, 0.9 * first)


def test_nothing_of_one_batch_is_left_in_the_next() -> None:
    x, y = records()
    step = make(CLIP_ONLY)
    moved(step, torch.arange(40))
    now = network()
    now.load_state_dict({name: p.detach() for name, p in zip(now.state_dict(), step.gradients.parameters, strict=True)})
    fresh = PrivateStep(now, CLIP_ONLY, "hooks", torch.optim.SGD(now.parameters(), lr=1.0), noise(1), 16)
    update, _ = moved(step, torch.arange(40, 50))
    torch.testing.assert_close(update, fresh.clipped_sum(x[40:50], y[40:50]) / PLAN.batch_size)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: setattr(s.optimizer, "max_grad_norm", 0.8), "max_grad_norm of the noise is 0.8 at step 2.*says 0.4"),
        (lambda s: setattr(s.gradients, "max_grad_norm", 0.8), "max_grad_norm of the clip is 0.8.*says 0.4"),
        (lambda s: setattr(s.optimizer, "noise_multiplier", 1.0), "noise_multiplier is 1.0.*says 1.5"),
        (lambda s: setattr(s.optimizer, "expected_batch_size", 9), "expected batch size is 9.*says 10"),
        (lambda s: setattr(s, "step_number", 6), "Step 6 comes after the 5 steps"),
        (lambda s: s.gradients.parameters[0].requires_grad_(False), "changed after wrapping"),
    ],
)
def test_disagreement_with_the_plan_ends_the_run(spoil, words: str) -> None:
    step = make()
    moved(step, torch.arange(5))
    spoil(step)
    before = flat(step).clone()
    with pytest.raises(MechanismError, match=words):
        moved(step, torch.arange(5))
    assert torch.equal(before, flat(step))


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_self_check_accepts_a_sound_mechanism(method: str) -> None:
    found = self_check(make(PLAN, method), *records())
    assert 0.1 < found.sensitivity <= 1 + 1e-4
    assert found.gradient_error < 1e-4
    assert abs(found.noise_ratio - 1) < 0.015


def test_self_check_names_a_clip_that_does_not_hold() -> None:
    step = make()
    step.gradients.max_grad_norm = 0.8
    with pytest.raises(MechanismError, match=r"moved the clipped sum by .* more than C = 0.4"):
        self_check(step, *records())


def test_self_check_names_wrong_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    step = make(PLAN, "hooks")
    sound = step.gradients.differentiate

    def mixed(x, y):
        sound(x, y.flip(0))

    monkeypatch.setattr(step.gradients, "differentiate", mixed)
    with pytest.raises(MechanismError, match="Self-check failed"):
        self_check(step, *records())


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_self_check_names_wrong_noise(wrong: float) -> None:
    step = make()
    step.optimizer.noise_multiplier *= wrong
    with pytest.raises(MechanismError, match="planned standard deviation"):
        self_check(step, *records())


def test_self_check_names_a_record_that_poisons_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    step = make(PLAN, "hooks")
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda t: torch.ones(t.shape, dtype=torch.bool))
    with pytest.raises(MechanismError, match="not a number moved the clipped sum by nan"):
        self_check(step, *records())


def test_diagnostics_say_what_can_be_said() -> None:
    x, y = records()
    step, clock = make(), PhaseClock(CPU)
    notes = Diagnostics(PLAN, step.dimension)
    reports = []
    for batch in (torch.arange(20), torch.arange(30, 42)):
        clock.begin(True)
        reports.append(step.run(x, y, batch, clock, True))
        notes.add(reports[-1])
    found = notes.collect()
    norms = torch.cat([c.norms for c in reports[-1].chunks])
    losses = torch.cat([c.losses for r in reports for c in r.chunks])
    assert found["batch_size"] == 12 and found["non_finite"] == 0
    assert found["grad_norm_p50"] == pytest.approx(norms.quantile(0.5).item())
    assert found["clipped_share"] == pytest.approx((norms > 0.4).double().mean().item())
    assert found["train_loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert found["snr"] == pytest.approx(reports[-1].signal.item() / (1.5 * 0.4 * step.dimension**0.5))
    assert (found["max_grad_norm"], found["noise_multiplier"]) == (0.4, 1.5)
    assert found.keys() <= METRICS.keys()
    times = clock.take()
    assert times.keys() == {f"time_{phase}" for phase in PHASES} and times["time_gradients"] > 0
    assert clock.take() == {}


@pytest.mark.parametrize(("plan", "absent"), [(CLIP_ONLY, {"snr"}), (PLAIN, {"snr", "grad_norm_p50", "max_grad_norm"})])
def test_diagnostics_leave_out_what_has_no_meaning(plan: PrivacyPlan, absent: set[str]) -> None:
    step = make(plan)
    notes = Diagnostics(plan, step.dimension)
    notes.add(moved(step, torch.arange(9))[1])
    assert not absent & notes.collect().keys()
    notes.add(moved(step, torch.arange(0))[1])
    assert notes.collect().keys() == {"batch_size", "non_finite", "noise_multiplier"} | ({"max_grad_norm"} - absent)


SCHEDULED = replace(PLAN, clip_schedule=Schedule("linear", 0.2), noise_schedule=Schedule("custom", custom=((3, 2.0),)))


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_clip_and_noise_follow_their_schedules(method: str) -> None:
    step, notes = make(SCHEDULED, method), Diagnostics(SCHEDULED, network_size())
    source = noise(7)
    for number, (clip, sigma) in enumerate([(0.4, 1.5), (0.32, 1.5), (0.24, 3.0), (0.16, 3.0), (0.08, 3.0)], start=1):
        assert step.step_number == number and step.noise_std == pytest.approx(clip * sigma)
        update, report = moved(step, torch.arange(0))
        torch.testing.assert_close(update * 10, clip * sigma * source.normal(step.dimension, CPU), rtol=1e-4, atol=1e-6)
        assert (report.max_grad_norm, report.noise_multiplier) == pytest.approx((clip, sigma))
        notes.add(report)
        found = notes.collect()
        assert (found["max_grad_norm"], found["noise_multiplier"]) == pytest.approx((clip, sigma))
    step.go_on_from(3, None)
    assert step.noise_std == pytest.approx(0.16 * 3) and step.clip_state is None


def network_size() -> int:
    return sum(p.numel() for p in network().parameters())


def test_clipped_sum_shrinks_with_the_schedule_of_c() -> None:
    """Far below the gradients' lengths the sum is proportional to C."""
    x, y = records()
    step = make(replace(SCHEDULED, max_grad_norm=1e-3))
    first = step.clipped_sum(x[:20], y[:20])
    step.go_on_from(4, None)
    torch.testing.assert_close(step.clipped_sum(x[:20], y[:20]), 0.2 * first, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "automatic"])
def test_every_coordinate_gets_the_same_noise(clipping: str) -> None:
    plan = replace(PLAN, clipping=clipping)
    update, _ = moved(make(plan, "hooks"), torch.arange(0))
    torch.testing.assert_close(update, 0.6 * noise(7).normal(network_size(), CPU) / 10)


def test_plan_that_is_not_private_may_train_on() -> None:
    step = make(PLAIN)
    step.go_on_from(5, None)
    moved(step, torch.arange(90))


def test_more_records_than_chance_explains_end_the_run() -> None:
    sizes = BatchSizes(100, bands=1)
    rng = np.random.default_rng(0)
    for drawn in rng.binomial(10_000, 0.01, 500):
        sizes.add(int(drawn))
    with pytest.raises(
        MechanismError, match=r"drew [\d,]+ records in \d+ steps, more than [\d,]+: its sample rate is above"
    ):
        for drawn in rng.binomial(10_000, 0.012, 500):
            sizes.add(int(drawn))


@pytest.mark.parametrize("physical", [1, 3, 16])
@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_self_check_leaves_the_step_as_it_was(method: str, physical: int) -> None:
    step = make(PLAN, method, physical)
    self_check(step, *records())
    assert step.physical_batch_size == physical and step.step_number == 1
    assert step.optimizer.source is step.noise and step.gradients.max_grad_norm == 0.4
    assert all(p.grad is None and not p.summed_grad.any() for p in step.gradients.parameters)
    fresh = make(PLAN, method, physical)
    fresh.noise.state = step.noise.state
    torch.testing.assert_close(moved(step, torch.arange(12))[0], moved(fresh, torch.arange(12))[0])


def test_self_check_takes_the_same_noise_every_time() -> None:
    first, second = make(), make()
    for step in (first, second):
        self_check(step, *records())
    assert first.noise.state == second.noise.state > 0
