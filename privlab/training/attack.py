"""Asking a model about people: a membership attack by the loss threshold (Yeom, Giacomelli, Fredrikson, Jha 2018, adversary 1).

The attack has the released weights and records, and says "was trained on" where the loss is small. No encryption of files or of
training helps against it; only the noise does. It is simple, so what it finds is a lower bound on what an attacker can do.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import safetensors.torch
import torch

from privlab.config import RunConfig
from privlab.data.load import NOT_ASKED
from privlab.dpsgd.loss import record_losses
from privlab.models.build import build
from privlab.preflight import part_trained
from privlab.training.evaluate import records_at_once
from privlab.training.inputs import inputs
from privlab.training.weights import load_trained

#: Quantile of the Kolmogorov–Smirnov distribution at 95 %: two samples of one distribution differ by less in 95 of 100 cases,
#: times √((n + m) / nm) (Smirnov 1948).
_KS_95 = 1.358
_MOST = 5000


@dataclass(frozen=True)
class Attack:
    """What the attack found.

    Attributes:
        advantage: largest true-positive rate minus false-positive rate over all thresholds.
        by_chance: what an attack that knows nothing stays below in 95 of 100 cases, at these numbers of records.
        rates: (false-positive rate, true-positive rate) at some thresholds, ascending.
        members, others: records asked about that were, and were not, trained on.
    """

    advantage: float
    by_chance: float
    rates: list[tuple[float, float]]
    members: int
    others: int


def ask_model(config: RunConfig, weights: bytes) -> Attack:
    """Attack the model of a finished run.

    Args:
        config: settings of the run.
        weights: its safetensors file.
    """
    dataset, chosen = inputs(config), config.model
    trains = part_trained(chosen.name, chosen.trains)
    model = build(chosen.name, dataset.facts, config.training.seed, trains, chosen.lora_rank).eval()
    load_trained(model, safetensors.torch.load(weights))
    x, y = dataset.train_x, dataset.train_y
    if config.data.unit == "user":
        asked = (y != NOT_ASKED).flatten(2).any(2)
        x, y = x[asked], y[asked]
    seen = _losses(model, x[:_MOST], y[:_MOST])
    unseen = _losses(model, dataset.test_x[:_MOST], dataset.test_y[:_MOST])
    thresholds = torch.cat([seen, unseen]).unique()
    hits = torch.searchsorted(seen.sort().values, thresholds, right=True) / len(seen)
    wrong = torch.searchsorted(unseen.sort().values, thresholds, right=True) / len(unseen)
    n, m = len(seen), len(unseen)
    places = torch.linspace(0, len(thresholds) - 1, min(200, len(thresholds))).round().long()
    rates = [(0.0, 0.0), *zip(wrong[places].tolist(), hits[places].tolist(), strict=True)]
    return Attack((hits - wrong).max().item(), _KS_95 * ((n + m) / (n * m)) ** 0.5, rates, n, m)


@torch.inference_mode()
def _losses(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    size = records_at_once(model, x)
    losses = torch.cat([record_losses(model(a), b) for a, b in zip(x.split(size), y.split(size), strict=True)])
    return losses.nan_to_num(nan=torch.inf)


def main() -> None:
    """``python -m privlab.training.attack``: the settings as one line of JSON and then the weights on stdin, the finding as JSON."""
    settings = sys.stdin.buffer.readline()
    found = ask_model(RunConfig.from_json(settings.decode()), sys.stdin.buffer.read())
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
