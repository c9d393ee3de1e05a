"""How many records are held in memory at once. It decides speed and memory; sums are the same but for rounding."""

from __future__ import annotations

import math

import torch
from torch import nn

from privlab.dpsgd.methods import Gradients
from privlab.dpsgd.views import Views

#: Per-record gradients kept at once on a CPU, in bytes: where a search begins, and the most that it goes to.
_CACHED_BYTES, _MOST_BYTES = 32 << 20, 256 << 20
#: Steps that each size is timed for; the quickest counts, so that trials of kernels and other people's work do not.
_TURNS = 3
#: Fewer records at once are not tried.
_FEWEST = 8
#: How much quicker another size must be to be worth going to.
_GAIN = 0.97


def quickest_chunk(gradients: Gradients, device: torch.device, most: int) -> int:
    """How many records to hold at once: ``most``, or fewer on a CPU where fewer are faster.

    Per-record gradients beyond the caches cost more than small chunks do: near 32 MiB the tanh CNN is 1.4 times as fast
    as at 512 records with hooks. Ghost clipping of linear layers alone keeps no such gradients. The result is the same.
    """
    return _within(_CACHED_BYTES, gradients, device, most)


def _within(most_bytes: int, gradients: Gradients, device: torch.device, most: int) -> int:
    sizes = sum(p.numel() for p in gradients.parameters)
    if device.type != "cpu" or not gradients.materialises:
        return most
    return max(1, min(most, most_bytes // (4 * sizes)))


class ChunkSearch:
    """Looks for the quickest number of records at once, by timing whole steps: half and twice as many, while that is quicker.

    Args:
        start: records at first.
        most: that it may go to.
        moves: False to stay at ``start``, as where a run must repeat bit for bit.

    Attributes:
        size: records at once in the coming step.
        settled: whether it stays.
    """

    def __init__(self, start: int, most: int, moves: bool = True):
        self.size, self._most = start, max(start, most)
        self.settled = not moves
        self._seconds: dict[int, float] = {}
        self._turns = 0

    @classmethod
    def of(cls, gradients: Gradients, device: torch.device, most: int, views: Views, moves: bool) -> ChunkSearch:
        """Of a method of gradients, where ``most`` rows (records times views) may be in memory at once."""
        first = min(most, views.few_rows) if views.few_rows and device.type == "cpu" else most
        start = max(1, quickest_chunk(gradients, device, first) // views.count)
        highest = max(1, _within(_MOST_BYTES, gradients, device, most) // views.count)
        return cls(start, highest, moves and device.type == "cpu")

    def took(self, records: int, seconds: float) -> None:
        """A step over so many records took so long."""
        if self.settled or records < self.size:  # not one full chunk
            return
        each = seconds / records
        self._seconds[self.size] = min(each, self._seconds.get(self.size, math.inf))
        self._turns += 1
        if self._turns == _TURNS:
            self._turns = 0
            self._move()

    def limit(self, most: int) -> None:
        """More than ``most`` records do not fit into memory: fewer from now on, and no more trials."""
        self.size, self.settled = min(self.size, max(1, most)), True

    def _move(self) -> None:
        best = min(self._seconds, key=self._seconds.__getitem__)
        for size in (best // 2, min(2 * best, self._most)):
            if size >= _FEWEST and size not in self._seconds:
                self.size = size
                return
        first = next(iter(self._seconds))
        self.size = best if self._seconds[best] < _GAIN * self._seconds[first] else first
        self.settled = True


def out_of_memory(error: Exception) -> bool:
    """Whether this is PyTorch or Python finding no memory; on a CPU PyTorch has no class for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("not enough memory", "can't allocate"))
    )


def forget(module: nn.Module) -> None:
    """Drop what a forward and backward pass that was broken off left behind in Opacus's hooks."""
    for layer in module.modules():
        for name in ("activations", "max_batch_len"):
            if hasattr(layer, name):
                delattr(layer, name)
    for p in module.parameters():
        if hasattr(p, "_forward_counter"):
            p._forward_counter = 0
        if hasattr(p, "_current_grad_sample"):
            del p._current_grad_sample
        p.grad = p.grad_sample = None
    if hasattr(module, "enable_hooks"):
        module.enable_hooks()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
