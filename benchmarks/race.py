"""Wall-clock race on Fashion-MNIST to the same ε: Opacus's own MNIST example against PrivLab, in turns, one torch thread.

Same model, records, batch size, C, learning rate and epochs. Each side finds the σ for ε by its own accountant beforehand.
“training” is the epochs: Opacus's loop, and PrivLab's with its measuring of every point. “whole” adds all that comes before
and after: wrapping and test there; preflight, loading, self-check, test and second opinions on ε here.
"""

from __future__ import annotations

import time
import warnings

import torch
from opacus import PrivacyEngine
from opacus.accountants.utils import get_noise_multiplier
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.common import arguments, keep, machine, report, spread
from benchmarks.training import torchvision_data
from benchmarks.training.work import pictures
from privlab.config import RunConfig
from privlab.data.catalogue import availability
from privlab.metrics import Point
from privlab.models.build import build
from privlab.preflight import preflight
from privlab.training.train import train

TITLE = "Race on Fashion-MNIST to the same ε, seconds by the wall, one thread"
BATCH, C, DELTA = 512, 1.0, 1e-5
#: Learning rate of each model, the same on both sides.
RATES = {"logistic": 0.5, "cnn": 0.5}


def opacus_sigma(epsilon: float, epochs: int) -> float:
    """σ by Opacus's default accountant, for the q and the steps that its loader will have."""
    a_pass = -(-len(pictures().train_y) // BATCH)
    return get_noise_multiplier(
        target_epsilon=epsilon, target_delta=DELTA, sample_rate=1 / a_pass, steps=epochs * a_pass, accountant="prv"
    )


def opacus_example(name: str, sigma: float, epochs: int, seed: int, workers: int) -> tuple[float, float, float]:
    """Opacus's ``examples/mnist.py`` with model ``name``. Test accuracy, seconds of training, seconds in all."""
    data = pictures()
    records = torchvision_data.fashion_mnist(data.train_x, data.train_y)
    torch.manual_seed(seed)
    began = time.perf_counter()
    model = build(name, data.facts, seed).train()
    criterion = nn.CrossEntropyLoss()
    model, optimizer, loader = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=RATES[name], momentum=0),
        data_loader=DataLoader(records, batch_size=BATCH, num_workers=workers),
        noise_multiplier=sigma,
        max_grad_norm=C,
    )
    started, losses = time.perf_counter(), []
    for _ in range(epochs):
        for batch, target in tqdm(loader, disable=None):
            optimizer.zero_grad()
            loss = criterion(model(batch), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    ended = time.perf_counter()
    model.eval()
    with torch.no_grad():
        right = (model(data.test_x).argmax(1) == data.test_y).float().mean().item()
    return right, ended - started, time.perf_counter() - began


def settings(name: str, epsilon: float, epochs: int, seed: int, sigma: float | None = None) -> RunConfig:
    return RunConfig.from_dict(
        {
            "data": {"dataset": pictures().facts.key},
            "model": {"name": name},
            "privacy": {"max_grad_norm": C, "delta": DELTA}
            | ({"noise_multiplier": sigma} if sigma else {"target_epsilon": epsilon}),
            "training": {
                "batch_size": BATCH,
                "epochs": epochs,
                "learning_rate": RATES[name],
                "momentum": 0.0,
                "seed": seed,
            },
            "performance": {"device": "cpu", "physical_batch_size": 2 * BATCH},
        }
    )


def privlab(config: RunConfig) -> tuple[float, float, float]:
    """The same for PrivLab; nothing is left out of what a run in the lab does but the store."""
    began = time.perf_counter()
    last = [item for item in train(config) if isinstance(item, Point)][-1]
    return last.metrics["test_accuracy"], last.seconds, time.perf_counter() - began


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=0, help="processes of Opacus's loader, on other cores")
    parser.add_argument("--dry", action="store_true", help="do not write benchmarks/results")
    given = parser.parse_args()
    if not torchvision_data.installed() or not availability("fashion-mnist").ready:
        raise SystemExit(
            "The race needs torchvision's loader and all of Fashion-MNIST: "
            "make peers, and: python -m privlab data fetch fashion-mnist"
        )
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of Opacus and PyTorch, about hooks and generators
    sigma = opacus_sigma(given.epsilon, given.epochs)
    # Both sides load what they load at first use.
    opacus_example("logistic", sigma, 1, 0, given.workers)
    privlab(settings("logistic", given.epsilon, 1, 0, sigma))
    rows, table = {}, []
    for name in given.models:
        own = preflight(settings(name, given.epsilon, given.epochs, 0)).plan.noise_multiplier
        runs: dict[str, list[tuple[float, float, float]]] = {"opacus": [], "privlab": []}
        for seed in range(given.seeds):
            runs["opacus"].append(opacus_example(name, sigma, given.epochs, seed, given.workers))
            runs["privlab"].append(privlab(settings(name, given.epsilon, given.epochs, seed, own)))
        rows[name] = {
            "epsilon": given.epsilon,
            "epochs": given.epochs,
            "workers": given.workers,
            "sigma": {"opacus": sigma, "privlab": own},
            "machine": machine("torch", "opacus"),
            "taken": time.strftime("%Y-%m-%d %H:%M"),
        }
        for i, what in enumerate(("accuracy", "training s", "whole s")):
            rows[name][what] = {side: spread(run[i] for run in found) for side, found in runs.items()}
        for i, what in ((1, "times as fast"), (2, "times as fast, whole")):
            pairs = zip(runs["opacus"], runs["privlab"], strict=True)
            rows[name][what] = spread(theirs[i] / ours[i] for theirs, ours in pairs)
        for side in runs:
            line = {"model": name, "who": side, "sigma": rows[name]["sigma"][side]}
            line |= {what: rows[name][what][side]["median"] for what in ("accuracy", "training s", "whole s")}
            if side == "privlab":
                line |= {what: rows[name][what]["median"] for what in ("times as fast", "times as fast, whole")}
            table.append(line)
    report(given.json, f"{TITLE}: ε={given.epsilon}, {given.epochs} epochs", machine("torch", "opacus"), table)
    if not given.dry:
        keep("race", TITLE, rows)


if __name__ == "__main__":
    main()
