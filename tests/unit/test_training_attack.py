"""The membership attack finds members where a model has learnt them by heart, and nobody where it has not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch.nn.functional import cross_entropy

from privlab.config import load_preset
from privlab.data.load import load
from privlab.models.build import build
from privlab.training.attack import ask_model

CONFIG = load_preset("digits")


def fit(data, steps: int) -> bytes:
    """An MLP fitted to the training records without privacy."""
    model = build("mlp", data.facts, 0)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(data.train_x), data.train_y).backward()
        optimizer.step()
    return safetensors.torch.save(model.state_dict())


def test_what_was_learnt_by_heart_is_recognised(monkeypatch):
    whole, dice = load("digits"), torch.Generator().manual_seed(0)
    # Labels without any rule can only be learnt by heart.
    few = replace(
        whole,
        train_x=whole.train_x[:200],
        train_y=torch.randint(10, (200,), generator=dice),
        test_x=whole.test_x[:200],
        test_y=torch.randint(10, (200,), generator=dice),
    )
    monkeypatch.setattr("privlab.training.inputs.load", lambda key: few)
    found = ask_model(CONFIG, fit(few, 150))
    assert found.advantage > 0.7
    assert (found.members, found.others) == (200, 200)
    assert found.by_chance == pytest.approx(0.1358)


def test_an_untrained_model_gives_nobody_away():
    found = ask_model(CONFIG, fit(load("digits"), 0))
    assert found.advantage < found.by_chance
    assert found.rates[0] == (0, 0) and found.rates[-1] == (1, 1)


def test_a_process_of_its_own_says_the_same():
    raw = fit(load("digits"), 0)
    line = json.dumps(CONFIG.to_dict()).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-m", "privlab.training.attack"], input=line + raw, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["advantage"] == pytest.approx(ask_model(CONFIG, raw).advantage)
