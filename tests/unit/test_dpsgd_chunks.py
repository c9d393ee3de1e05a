"""Records at once: where memory runs out there are fewer, where others are quicker there are those, and sums stay the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from privlab.dpsgd.augment import MovedPictures
from privlab.dpsgd.chunks import ChunkSearch, out_of_memory
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.layers.kernels import Kernels
from privlab.dpsgd.step import PrivateStep
from privlab.dpsgd.views import AS_THEY_ARE, ShortTexts, TextsOfUsers
from tests.unit.test_dpsgd_gradients import conv, make, records
from tests.unit.test_dpsgd_step import CLIP_ONLY, CPU, PLAIN, noise

ERRORS = {
    "PyTorch's": torch.OutOfMemoryError("CUDA out of memory."),
    "a CPU's": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    "Windows's": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    "Python's": MemoryError(),
}


class Full(nn.Module):
    """Has no memory for more rows, in the forward or in the backward pass."""

    def __init__(self, most: int, where: str, error: Exception):
        super().__init__()
        self.most, self.where, self.error, self.refused = most, where, error, 0

    def _take(self, tensor: torch.Tensor) -> None:
        if len(tensor) > self.most:
            self.refused += 1
            raise self.error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.where == "forward":
            self._take(x)
        elif x.requires_grad:
            x = x * 1
            x.register_hook(self._take)
        return x


def a_step(method: str, model: nn.Module, plan=CLIP_ONLY, physical: int = 64, **more) -> PrivateStep:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return PrivateStep(model, plan, method, optimizer, noise(7), physical, **more)


def full(most: int, where: str = "forward", error: Exception = ERRORS["PyTorch's"]) -> tuple[nn.Module, Full]:
    """The convolutional network with a part that runs out of memory in its middle."""
    part = Full(most, where, error)
    return nn.Sequential(*(layers := list(make(conv)))[:3], part, *layers[3:]), part


@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost", "plain"])
@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("error", ERRORS)
def test_where_memory_runs_out_halves_are_done_with_the_same_sum(method: str, where: str, error: str) -> None:
    plan = PLAIN if method == "plain" else CLIP_ONLY
    x, y = records(37)
    expected = a_step(method, make(conv), plan).clipped_sum(x, y)
    model, part = full(5, where, ERRORS[error])
    step = a_step(method, model, plan)
    total, chunks = step.summarise(x, y)
    torch.testing.assert_close(torch.cat([t.flatten() for t in total]), expected)
    assert sum(len(chunk.losses) for chunk in chunks) == 37
    assert step.physical_batch_size == 4  # 37 → 18 → 9 → 4
    assert part.refused == 3  # what has failed is not tried again
    torch.testing.assert_close(step.clipped_sum(x, y), expected)
    assert part.refused == 3


def test_views_of_a_record_stay_together() -> None:
    x, y = records(12)
    x, y = x.repeat_interleave(3, 0) * torch.rand(36, 1, 1, 1), y.repeat_interleave(3)
    views = MovedPictures(3, 1)
    expected = a_step("one-pass", make(conv), views=views).clipped_sum(x, y)
    model, _ = full(9)
    step = a_step("one-pass", model, views=views)
    torch.testing.assert_close(step.clipped_sum(x, y), expected)
    assert step.physical_batch_size == 3


def test_a_whole_step_updates_as_if_memory_had_sufficed() -> None:
    x, y = records(37)
    roomy, tight = make(conv), full(5)[0]
    for model in (roomy, tight):
        a_step("one-pass", model).run(x, y, torch.arange(20), PhaseClock(CPU))
    for a, b in zip(roomy.parameters(), tight.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_one_record_that_does_not_fit_ends_the_run() -> None:
    model, part = full(3)
    step = a_step("hooks", model)
    part.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        step.clipped_sum(*records(3))


def test_other_errors_are_none_of_memory() -> None:
    assert all(map(out_of_memory, ERRORS.values()))
    assert not any(map(out_of_memory, (RuntimeError("shapes"), ValueError("not enough memory"), KeyError())))
    model, part = full(5, error=RuntimeError("shapes"))
    with pytest.raises(RuntimeError, match="shapes"):
        a_step("hooks", model).clipped_sum(*records(9))
    assert part.refused == 1


def settle(search: ChunkSearch, seconds: dict[int, float]) -> list[int]:
    """Sizes that are tried where a record takes so long."""
    sizes = []
    for _ in range(100):
        sizes.append(search.size)
        search.took(1000, 1000 * seconds[search.size])
    assert search.settled
    return list(dict.fromkeys(sizes))


def test_half_and_twice_as_many_are_tried_while_they_are_quicker() -> None:
    quicker_small = {256: 4.0, 128: 3.0, 64: 2.0, 32: 1.0, 16: 1.5, 512: 5.0}
    search = ChunkSearch(256, 512)
    assert settle(search, quicker_small) == [256, 128, 64, 32, 16]
    assert search.size == 32
    quicker_large = {64: 4.0, 32: 5.0, 128: 3.0, 200: 2.0, 100: 2.5}
    search = ChunkSearch(64, 200)
    assert settle(search, quicker_large) == [64, 32, 128, 200, 100]
    assert search.size == 200


def test_one_slow_step_does_not_decide() -> None:
    search = ChunkSearch(64, 64)
    for size, times in ((64, (9.0, 1.0, 9.0)), (32, (2.0, 2.0, 2.0))):
        for each in times:
            assert search.size == size
            search.took(1000, 1000 * each)
    assert search.size == 64 and search.settled


def test_nothing_is_gained_by_a_hair_nor_learnt_from_a_part_of_a_chunk() -> None:
    search = ChunkSearch(16, 16)
    settle(search, {16: 1.0, 8: 0.99})
    assert search.size == 16
    search = ChunkSearch(16, 16)
    for _ in range(20):
        search.took(15, 1.0)
    assert search.size == 16 and not search.settled


def test_a_search_stays_where_memory_ends() -> None:
    search = ChunkSearch(64, 512)
    search.limit(20)
    for _ in range(20):
        search.took(1000, 1.0)
    assert search.size == 20 and search.settled


def test_a_search_over_texts_begins_with_few_on_a_cpu() -> None:
    gradients = a_step("one-pass", make(conv)).gradients
    for views, first in ((AS_THEY_ARE, 512), (ShortTexts(0), 16), (TextsOfUsers(4, 1, 0), 4)):
        assert ChunkSearch.of(gradients, CPU, 512, views, moves=True).size == first
    assert ChunkSearch.of(gradients, torch.device("meta"), 512, ShortTexts(0), moves=True).size == 512
    assert ChunkSearch.of(gradients, CPU, 3, ShortTexts(0), moves=True).size == 3


def test_only_a_run_that_may_try_searches() -> None:
    x, y = records(100)
    plan = replace(CLIP_ONLY, steps=100)
    for kernels, moved in ((None, False), (Kernels(), True)):
        step = a_step("one-pass", make(conv), plan, physical=16, kernels=kernels)
        sizes = set()
        for _ in range(10):
            step.run(x, y, torch.arange(40), PhaseClock(CPU))
            sizes.add(step.physical_batch_size)
        assert (len(sizes) > 1) == moved
