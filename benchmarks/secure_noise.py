"""Secure against plain noise: time of one draw, its share of a training step, and steps of a whole run, in turns.

Each source of noise trains the same model with :class:`privlab.training.trainer.Trainer`, the code that runs train with, in
one process and on one thread; turns of a few steps are interleaved, and ratios are taken within a turn. Draws are timed
inside the steps, where the caches hold what a step leaves in them. ``plain`` is PyTorch's generator filled by the operating
system; the coin flips come from the cipher for every row.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.common import arguments, machine, report, spread
from privlab.config import RunConfig
from privlab.data.load import load
from privlab.dpsgd.noise import noise_source
from privlab.preflight import preflight
from privlab.training.trainer import Trainer

#: Model, batch size and steps of one turn.
WORK = (("logistic", 512, 40), ("cnn", 512, 4))
SOURCES = {
    "plain": {"randomness": "plain"},
    "cipher": {"randomness": "private"},
    "rounded": {"randomness": "private", "protection": "rounded"},
}


class Timed:
    """Counts the seconds spent in a call."""

    def __init__(self, call: Callable[..., Any]):
        self._call, self.seconds = call, 0.0

    def __call__(self, *given: Any) -> Any:
        began = time.process_time()
        result = self._call(*given)
        self.seconds += time.process_time() - began
        return result


def turn_of(model: str, batch: int, steps: int, privacy: dict[str, str]) -> Callable[[], tuple[float, float, float]]:
    """A function that trains ``steps`` steps and tells seconds a step: (whole, noise, coin flips)."""
    config = RunConfig.from_dict(
        {
            "data": {"dataset": "fashion-mnist-6k"},
            "model": {"name": model},
            "privacy": {"noise_multiplier": 1.1, **privacy},
            "training": {"batch_size": batch, "epochs": 1000, "learning_rate": 0.1},
            "performance": {"device": "cpu", "physical_batch_size": 512},
        }
    )
    trainer = Trainer(preflight(config), load("fashion-mnist-6k"), torch.device("cpu"))
    noise, flips = Timed(trainer._noise.perturb), Timed(trainer._sampler.draw)
    trainer._noise.perturb, trainer._sampler.draw = noise, flips

    def turn() -> tuple[float, float, float]:
        noise.seconds = flips.seconds = 0.0
        began = time.process_time()
        for _ in range(steps):
            trainer.advance(False)
        whole = time.process_time() - began
        return whole / steps, noise.seconds / steps, flips.seconds / steps

    return turn


def step_rows(model: str, batch: int, steps: int, turns: int) -> list[dict[str, Any]]:
    rivals = {name: turn_of(model, batch, steps, privacy) for name, privacy in SOURCES.items()}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rivals}
    for number in range(turns + 1):
        for name, turn in rivals.items():
            measured = turn()
            if number:  # the first turn warms up
                taken[name].append(measured)
    rows = []
    for name, values in taken.items():
        share = spread(100 * noise / whole for whole, noise, _ in values)
        against = spread(ours[1] / plain[1] for ours, plain in zip(values, taken["plain"], strict=True))
        rows.append(
            {
                "model": model,
                "noise": name,
                "step ms": spread(1e3 * v[0] for v in values)["median"],
                "draw ms": spread(1e3 * v[1] for v in values)["median"],
                "draw / plain": against["median"],
                "range": f"{against['min']:.2f}–{against['max']:.2f}",
                "% of step": share["median"],
                "% range": f"{share['min']:.1f}–{share['max']:.1f}",
                "flips % of step": spread(100 * v[2] / v[0] for v in values)["median"],
            }
        )
    return rows


def large_rows(count: int, turns: int) -> list[dict[str, Any]]:
    """Draws alone, for ``count`` parameters."""
    cpu, sums = torch.device("cpu"), [torch.zeros(count)]
    sources = {
        name: noise_source(privacy["randomness"], privacy.get("protection", "none"), 1, cpu, None)
        for name, privacy in SOURCES.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in sources}
    for number in range(turns + 1):
        for name, source in sources.items():
            draw = Timed(source.perturb)
            draw(sums, 1.0)
            if number:
                taken[name].append(draw.seconds)
    return [
        {
            "model": f"{count:,} values",
            "noise": name,
            "draw ms": spread(1e3 * s for s in values)["median"],
            "draw / plain": spread(a / b for a, b in zip(values, taken["plain"], strict=True))["median"],
        }
        for name, values in taken.items()
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15, help="measured turns of each source, interleaved")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="opacus|torch")
    rows = [row for model, batch, steps in WORK for row in step_rows(model, batch, steps, given.turns)]
    rows += large_rows(1_000_000, given.turns)
    report(given.json, "Secure noise, one thread, CPU seconds", machine("torch", "cryptography", "numpy"), rows)


if __name__ == "__main__":
    main()
