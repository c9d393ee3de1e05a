"""Samples per second: PrivLab against a plain Opacus script and against SGD without privacy, in one process, in turns.

The Opacus script is what Opacus's own MNIST example does, with a ``TensorDataset`` for torchvision's pictures (which has
no CPU build for this torch): ``PrivacyEngine.make_private``, its Poisson loader, hooks, one ``optimizer.step()`` a batch.
SGD without privacy takes slices of tensors in memory. PrivLab's side is :class:`privlab.training.trainer.Trainer`, the
code that runs train with, private diagnostics included. All use the same model, data, batch size and one thread.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from opacus import PrivacyEngine
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.common import arguments, machine, report, spread
from privlab.config import RunConfig
from privlab.data.load import load
from privlab.models.build import build
from privlab.preflight import preflight
from privlab.training.trainer import Trainer

SIGMA, C, RATE = 1.1, 1.0, 0.1
#: Model, data set, batch size and steps of one turn.
WORK = (
    ("logistic", "fashion-mnist-6k", 512, 20),
    ("cnn", "fashion-mnist-6k", 512, 8),
    ("resnet-gn", "fashion-mnist-6k", 256, 1),
)


def privlab_turn(model: str, dataset_key: str, batch: int, steps: int) -> Callable[[], float]:
    config = RunConfig.from_dict(
        {
            "data": {"dataset": dataset_key},
            "model": {"name": model},
            "privacy": {"noise_multiplier": SIGMA, "max_grad_norm": C},
            "training": {"batch_size": batch, "epochs": 1000, "learning_rate": RATE, "momentum": 0.0},
            "performance": {"device": "cpu", "physical_batch_size": 64 if model == "resnet-gn" else 512},
        }
    )
    trainer = Trainer(preflight(config), load(dataset_key), torch.device("cpu"))

    def turn() -> float:
        began = time.process_time()
        for _ in range(steps):
            trainer.advance(False)
        return steps * batch / (time.process_time() - began)

    return turn


def opacus_turn(model: str, dataset_key: str, batch: int, steps: int) -> Callable[[], float]:
    data = load(dataset_key)
    net = build(model, data.facts, seed=0)
    loader = DataLoader(TensorDataset(data.train_x, data.train_y), batch_size=batch)
    net, optimizer, loader = PrivacyEngine().make_private(
        module=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=RATE),
        data_loader=loader,
        noise_multiplier=SIGMA,
        max_grad_norm=C,
    )
    batches = iter(loader)

    def turn() -> float:
        nonlocal batches
        began = time.process_time()
        for _ in range(steps):
            try:
                x, y = next(batches)
            except StopIteration:
                batches = iter(loader)
                x, y = next(batches)
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
        return steps * batch / (time.process_time() - began)

    return turn


def sgd_turn(model: str, dataset_key: str, batch: int, steps: int) -> Callable[[], float]:
    data = load(dataset_key)
    net = build(model, data.facts, seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)

    def turn() -> float:
        began = time.process_time()
        for _ in range(steps):
            chosen = torch.randint(len(data.train_x), (batch,))
            optimizer.zero_grad()
            cross_entropy(net(data.train_x[chosen]), data.train_y[chosen]).backward()
            optimizer.step()
        return steps * batch / (time.process_time() - began)

    return turn


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7, help="measured turns of each rival, interleaved")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="opacus|torch")
    rows = []
    for model, dataset_key, batch, steps in WORK:
        rivals = {
            "opacus": opacus_turn(model, dataset_key, batch, steps),
            "privlab": privlab_turn(model, dataset_key, batch, steps),
            "sgd": sgd_turn(model, dataset_key, batch, steps),
        }
        speeds: dict[str, list[float]] = {name: [] for name in rivals}
        for number in range(given.turns + 1):
            for name, turn in rivals.items():
                speed = turn()
                if number:  # the first turn warms up
                    speeds[name].append(speed)
        against = {
            name: spread(a / b for a, b in zip(speeds["privlab"], speeds[name], strict=True))
            for name in ("opacus", "sgd")
        }
        rows.append(
            {
                "model": model,
                "batch": batch,
                **{f"{name} samples/s": spread(values)["median"] for name, values in speeds.items()},
                "privlab / opacus": against["opacus"]["median"],
                "range": f"{against['opacus']['min']:.2f}–{against['opacus']['max']:.2f}",
                "privlab / sgd": against["sgd"]["median"],
            }
        )
    report(given.json, "Training speed, one thread, CPU seconds", machine("torch", "opacus"), rows)


if __name__ == "__main__":
    main()
