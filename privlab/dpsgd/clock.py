"""Seconds that a training step spends in each of the article's seven phases."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import torch

from privlab.metrics import PHASES


class PhaseClock:
    """Adds up wall seconds by phase.

    On an accelerator work is queued, so a lap waits for the device first. That slows a step, so there only the steps
    that are ``watched`` are measured; on the CPU every step is.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._running = False
        self._since = 0.0
        self._forget()

    def _forget(self) -> None:
        self._totals = dict.fromkeys(PHASES, 0.0)
        self._steps = 0

    def begin(self, watched: bool) -> None:
        """A step begins."""
        self._running = watched or self._device.type == "cpu"
        if self._running:
            self._steps += 1
            self._wait()
            self._since = perf_counter()

    def lap(self, phase: str) -> None:
        """The time since the last lap was spent in ``phase``."""
        if self._running:
            self._wait()
            now = perf_counter()
            self._totals[phase] += now - self._since
            self._since = now

    def split(self, parts: Mapping[str, float], rest: str) -> None:
        """The time since the last lap was spent in ``parts``, seconds by phase, and what is left of it in ``rest``."""
        if self._running:
            self.lap(rest)
            for phase, seconds in parts.items():
                self._totals[phase] += seconds
                self._totals[rest] -= seconds

    def add(self, phase: str, seconds: float) -> None:
        """Time spent in ``phase`` outside a step's laps."""
        self._totals[phase] += seconds

    def take(self) -> dict[str, float]:
        """Mean seconds per measured step by ``time_<phase>`` since the last call; empty if there was none."""
        steps, totals = self._steps, self._totals
        self._forget()
        return {f"time_{phase}": total / steps for phase, total in totals.items()} if steps else {}

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
