"""C that follows a quantile: the count, its noise, the rule, and what a checkpoint keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from privlab.dpsgd.adaptive import LEAST, MOST, QuantileClip, count
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.diagnostics import Diagnostics
from privlab.dpsgd.gradients import Chunk
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.metrics import METRICS, Release
from privlab.privacy.plan import AdaptiveClip, PrivacyPlan

CPU = torch.device("cpu")
RULE = AdaptiveClip(quantile=0.7, rate=0.2, count_noise=4.0)
PLAN = PrivacyPlan(
    records=400,
    batch_size=80,
    steps=400,
    noise_multiplier=1.3,
    max_grad_norm=0.5,
    delta=1e-5,
    clipping="adaptive",
    adaptive=RULE,
)


def records():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(400, 6, generator=generator), torch.randint(0, 4, (400,), generator=generator)


def make(method: str = "ghost", plan: PrivacyPlan = PLAN, rate: float = 0.0) -> PrivateStep:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return PrivateStep(model, plan, method, optimizer, noise_source("reproducible", "none", 1, CPU, 7), 16)


def chunk(shortened: list[bool], dropped: int = 0) -> Chunk:
    return Chunk(
        torch.zeros(len(shortened)), torch.zeros(len(shortened)), torch.tensor(shortened, dtype=torch.bool), dropped
    )


def test_each_record_moves_the_count_by_a_half() -> None:
    assert count([], CPU).tolist() == [0.0]
    assert count([chunk([True])], CPU).tolist() == [-0.5]
    assert count([chunk([False])], CPU).tolist() == [0.5]
    assert count([chunk([False, False, True]), chunk([False], dropped=3)], CPU).tolist() == [1.0]


def test_c_moves_as_the_paper_says_and_stays_in_range() -> None:
    clip = QuantileClip(PLAN)
    clip.follow(0.9)
    assert clip.max_grad_norm == pytest.approx(0.5 * math.exp(-0.2 * (0.9 - 0.7)))
    clip.follow(0.7)
    assert clip.max_grad_norm == pytest.approx(0.5 * math.exp(-0.04))
    clip.follow(1e9)
    assert clip.max_grad_norm == pytest.approx(LEAST)
    clip.follow(-1e9)
    assert clip.max_grad_norm == pytest.approx(MOST)


def test_released_share_is_the_noisy_count_over_the_expected_size() -> None:
    clip, source = QuantileClip(PLAN), noise_source("reproducible", "none", 1, CPU, 7)
    z = noise_source("reproducible", "none", 1, CPU, 7).perturb([torch.zeros(1)], 1.0)[0].item()
    share = clip.released_share([chunk([False, False, True])], source, CPU)
    assert share == pytest.approx((0.5 + 4.0 * z) / 80 + 0.5, abs=1e-6)


def test_gradients_get_more_noise_so_that_both_cost_what_sigma_says() -> None:
    step = make()
    z = step.optimizer.noise_multiplier
    assert z == pytest.approx((1.3**-2 - 8.0**-2) ** -0.5) and z > 1.3
    assert step.noise_std == pytest.approx(z * 0.5)


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_c_settles_at_the_quantile_of_the_norms(method: str) -> None:
    x, y = records()
    step, everyone = make(method), torch.arange(400)
    for _ in range(120):
        report = step.run(x, y, everyone[torch.randperm(400)[:80]], PhaseClock(CPU))
    (norms,) = [torch.cat([c.norms for c in step.summarise(x, y)[1]])]
    reached = (norms <= step.max_grad_norm).double().mean().item()
    assert abs(reached - 0.7) < 0.1
    assert report.quantile_share == pytest.approx(0.7, abs=0.3)


def test_next_c_follows_from_the_released_share_alone() -> None:
    x, y = records()
    step = make(rate=0.5)
    for number, size in enumerate((30, 0, 80), start=1):
        before = step.max_grad_norm
        report = step.run(x, y, torch.arange(size), PhaseClock(CPU))
        assert report.max_grad_norm == before and report.noise_multiplier == 1.3
        expected = before * math.exp(-0.2 * (report.quantile_share - 0.7))
        assert step.max_grad_norm == step.clip_state == pytest.approx(expected)
        assert step.gradients.max_grad_norm == step.optimizer.max_grad_norm == step.max_grad_norm
        assert step.step_number == number + 1


def test_run_that_goes_on_has_the_same_c() -> None:
    x, y = records()
    whole, half = make(), make()
    for size in (20, 40, 60):
        whole.run(x, y, torch.arange(size), PhaseClock(CPU))
    for size in (20, 40):
        half.run(x, y, torch.arange(size), PhaseClock(CPU))
    resumed = make()
    resumed.go_on_from(2, half.clip_state)
    resumed.noise.state = half.noise.state
    resumed.run(x, y, torch.arange(60), PhaseClock(CPU))
    assert resumed.clip_state == pytest.approx(whole.clip_state) and resumed.step_number == 4


def test_learnt_c_is_neither_lost_nor_made_up() -> None:
    with pytest.raises(MechanismError, match="C=None does not go with clipping=adaptive"):
        make().go_on_from(3, None)
    flat = replace(PLAN, clipping="flat", adaptive=None)
    assert make(plan=flat).clip_state is None
    with pytest.raises(MechanismError, match=r"C=0\.4 does not go with clipping=flat"):
        make(plan=flat).go_on_from(3, 0.4)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(PLAN, adaptive=None), "clipping=adaptive does not go with adaptive=None"),
        (replace(PLAN, noise_multiplier=0.0), "would release its count as it is"),
        (replace(PLAN, bands=3), "correlated over 3 steps"),
    ],
)
def test_unsound_combinations_are_refused(plan: PrivacyPlan, words: str) -> None:
    with pytest.raises(MechanismError, match=words):
        make(plan=plan)


def test_released_share_is_reported_beside_the_exact_one() -> None:
    x, y = records()
    step = make()
    notes = Diagnostics(PLAN, step.dimension)
    report = step.run(x, y, torch.arange(70), PhaseClock(CPU), watch=True)
    notes.add(report)
    found = notes.collect()
    assert found["quantile_share"] == report.quantile_share
    assert (found["max_grad_norm"], found["noise_multiplier"]) == (0.5, 1.3)
    norms = torch.cat([c.norms for c in report.chunks])
    assert found["clipped_share"] == pytest.approx((norms > 0.5).double().mean().item())
    assert found["snr"] == pytest.approx(report.signal.item() / (report.noise_std * step.dimension**0.5))
    assert METRICS["quantile_share"].release is Release.RELEASED and METRICS["clipped_share"].release is Release.PRIVATE


def test_self_check_measures_the_count_and_leaves_c_alone() -> None:
    step = make()
    found = self_check(step, *records())
    assert abs(found.count_noise_ratio - 1) < 0.07 and found.method_error < 1e-4
    assert step.clip_state == step.gradients.max_grad_norm == 0.5 and step.step_number == 1
    step.adaptive.count_noise = 3.0
    with pytest.raises(MechanismError, match=r"the count of adaptive clipping has 0\.7"):
        self_check(step, *records())
