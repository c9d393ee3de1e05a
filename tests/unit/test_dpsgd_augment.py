"""Views of a picture: moved, mirrored, each of its own picture alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from privlab.dpsgd.augment import MovedPictures
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.privacy.plan import PrivacyPlan

CPU = torch.device("cpu")


def seen(
    x: torch.Tensor, count: int, seed: int | None = 1, step: int = 1, members: torch.Tensor | None = None
) -> torch.Tensor:
    views = MovedPictures(count, seed)
    views.begin(step)
    members = torch.arange(len(x)) if members is None else members
    rows, labels = views.of(x, members, members)
    assert torch.equal(labels, members.repeat_interleave(count))
    return rows


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 24), (3, 16, 24)])
def test_each_view_is_its_own_picture_moved_or_mirrored(channels: int, height: int, width: int) -> None:
    x = torch.rand(5, channels, height, width) + 0.5
    found = seen(x, 40).view(5, 40, channels, height, width)
    ways = set()
    for picture, of_it in zip(x, found, strict=True):
        wide = nn.functional.pad(picture, (3, 3, 2, 2))
        windows = {
            (down, right, mirrored): part.flip(-1) if mirrored else part
            for down in range(5)
            for right in range(7)
            for part in [wide[:, down : down + height, right : right + width]]
            for mirrored in ((False, True) if channels == 3 else (False,))
        }
        for view in of_it:
            (way,) = [way for way, window in windows.items() if torch.equal(view, window)]
            ways.add(way)
    # 200 views show every shift, and both hands of a picture with colours only.
    assert {w[0] for w in ways} == set(range(5)) and {w[1] for w in ways} == set(range(7))
    assert {w[2] for w in ways} == ({False, True} if channels == 3 else {False})


def test_views_follow_from_the_seed_and_differ_without_one() -> None:
    x = torch.rand(50, 3, 16, 16)
    assert torch.equal(seen(x, 2), seen(x, 2)) and not torch.equal(seen(x, 2), seen(x, 2, seed=2))
    assert not torch.equal(seen(x, 2), seen(x, 2, step=2))
    assert not torch.equal(seen(x, 2, seed=None), seen(x, 2, seed=None))


def test_a_record_that_leaves_moves_no_others_views() -> None:
    x = torch.rand(50, 3, 16, 16)
    others = torch.arange(50) != 7
    assert torch.equal(seen(x, 2)[others.repeat_interleave(2)], seen(x[others], 2, members=torch.arange(50)[others]))


PLAN = PrivacyPlan(records=60, batch_size=20, steps=9, noise_multiplier=1.0, max_grad_norm=0.3, delta=1e-4)


def make(model: nn.Module, physical: int = 12, count: int = 4) -> PrivateStep:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = noise_source("reproducible", "none", 1, CPU, 7)
    return PrivateStep(model, PLAN, "hooks", optimizer, noise, physical, MovedPictures(count, 5))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 4))


def records():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(60, 1, 8, 8, generator=generator), torch.randint(0, 4, (60,), generator=generator)


def test_views_of_a_step_follow_from_its_number_so_that_a_resume_sees_the_same() -> None:
    x, y = records()
    whole = make(network())
    for size in (10, 7, 13):
        whole.run(x, y, torch.arange(size), PhaseClock(CPU))
    first = make(network())
    for size in (10, 7):
        first.run(x, y, torch.arange(size), PhaseClock(CPU))
    resumed = make(network())
    resumed.gradients.module.load_state_dict(first.gradients.module.state_dict())
    resumed.noise.state = first.noise.state
    resumed.go_on_from(2, None)
    resumed.run(x, y, torch.arange(13), PhaseClock(CPU))
    for a, b in zip(whole.gradients.parameters, resumed.gradients.parameters, strict=True):
        assert torch.equal(a, b)


def test_memory_holds_no_more_rows_than_asked_for() -> None:
    step = make(network(), physical=12, count=4)
    assert step.physical_batch_size == 3
    assert make(network(), physical=2, count=4).physical_batch_size == 1
    report = step.run(*records(), torch.arange(10), PhaseClock(CPU))
    assert [len(chunk.losses) for chunk in report.chunks] == [3, 3, 3, 1]


def test_one_record_of_many_views_moves_the_sum_by_c_at_most() -> None:
    found = self_check(make(network()), *records())
    assert found.sensitivity <= 1 + 1e-4 and found.gradient_error < 1e-4 and found.method_error is None


def test_each_step_sees_other_views() -> None:
    x, y = records()
    step = make(network(), physical=40)
    step.optimizer.original_optimizer.param_groups[0]["lr"] = 0.0
    first, second = (step.run(x, y, torch.arange(10), PhaseClock(CPU)).chunks[0].losses for _ in range(2))
    assert not torch.equal(first, second)
    step.go_on_from(0, None)
    assert torch.equal(first, step.run(x, y, torch.arange(10), PhaseClock(CPU)).chunks[0].losses)
