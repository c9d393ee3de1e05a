"""Checkpoints, evaluation, averaging, export and background work, each by itself."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from privlab.config import RunConfig
from privlab.encryption import PlainVault
from privlab.metrics import SUBSET
from privlab.preflight import preflight
from privlab.privacy.accounting import epsilon
from privlab.training import background
from privlab.training import evaluate as evaluation
from privlab.training.average import WeightAverage, corrected
from privlab.training.checkpoint import Checkpoint, CheckpointError
from privlab.training.device import choose_device
from privlab.training.evaluate import Evaluation, evaluate
from privlab.training.export import export_weights

CONFIG = RunConfig.from_dict({"privacy": {"noise_multiplier": 2.0, "delta": 1e-4}, "training": {"ema_decay": 0.9}})


def checkpoint(**changes) -> Checkpoint:
    given = {
        "config": CONFIG,
        "plan": preflight(CONFIG).plan,
        "step": 3,
        "seconds": 1.25,
        "parameters": {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor([0.1])},
        "optimizer": {"a.weight": {"exp_avg": torch.ones(2, 3), "step": torch.tensor(3.0)}},
        "average": {"a.weight": torch.full((2, 3), 0.271)},
        "clip": 0.37,
        "batch_stream": 12345678901234567890,
        "noise_stream": 7,
    }
    return Checkpoint(**(given | changes))


def test_checkpoint_comes_back_equal() -> None:
    before = checkpoint()
    after = Checkpoint.from_bytes(before.to_bytes())
    assert (after.config, after.plan, after.step, after.seconds) == (before.config, before.plan, 3, 1.25)
    assert after.batch_stream == before.batch_stream
    assert (after.noise_stream, after.clip) == (7, 0.37)
    for name in before.parameters:
        assert torch.equal(after.parameters[name], before.parameters[name])
    assert torch.equal(after.optimizer["a.weight"]["exp_avg"], torch.ones(2, 3))
    assert after.optimizer["a.weight"]["step"].shape == ()
    assert torch.equal(after.average["a.weight"], before.average["a.weight"])


def test_checkpoint_keeps_any_memory_layout() -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    after = Checkpoint.from_bytes(checkpoint(parameters={"w": weight}).to_bytes())
    assert torch.equal(after.parameters["w"], weight)


def other_safetensors() -> bytes:
    return safetensors.torch.save({"x": torch.ones(1)})


def rewritten(**changes) -> bytes:
    data = checkpoint().to_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["checkpoint"]) | changes
    tensors = safetensors.torch.load(data)
    return safetensors.torch.save(tensors, header["__metadata__"] | {"checkpoint": json.dumps(about)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense that is long enough to have a header of some kind",
        pickle.dumps({"step": 1}),
        other_safetensors(),
        checkpoint().to_bytes()[:-1],
        checkpoint().to_bytes()[:100],
        rewritten(plan={"records": 1}),
        rewritten(config={"privacy": {"noise_multiplier": -1}}),
        rewritten(step="three"),
        rewritten(step=None),
    ],
    ids=["empty", "noise", "pickle", "other", "cut", "header only", "plan", "config", "word", "none"],
)
def test_damaged_or_other_files_are_refused_in_plain_words(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint is damaged|not a privlab-checkpoint-1 file"):
        Checkpoint.from_bytes(data)


def test_average_is_bias_corrected() -> None:
    weight, decay = torch.zeros(2), 0.8
    average = WeightAverage({"w": weight}, decay)
    values = [torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0]), torch.tensor([5.0, 5.0])]
    for value in values:
        weight.copy_(value)
        average.update()
    shares = np.array([decay**2, decay, 1.0])
    expected = sum(s * v for s, v in zip((shares / shares.sum()).tolist(), values, strict=True))
    torch.testing.assert_close(corrected(average.sums, decay, 3)["w"], expected)
    # A constant stays what it is from the first step on.
    average = WeightAverage({"w": weight}, decay)
    average.update()
    torch.testing.assert_close(corrected(average.sums, decay, 1)["w"], weight)


class Threshold(nn.Module):
    """Says class 1 for x above ``at``."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.at - x, x - self.at], dim=1)


def test_evaluation_counts_in_chunks_and_can_use_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_RECORDS_CPU", 3)
    model = Threshold().train()
    x, y = torch.tensor([-2.0, -1.0, 1.0, 2.0, 3.0, 0.5, -0.5]), torch.tensor([0, 1, 1, 1, 1, 1, 0])
    found = evaluate(model, x, y)
    assert (found.accuracy, found.records) == (6 / 7, 7) and model.training
    assert found.loss == pytest.approx(nn.functional.cross_entropy(model(x), y).item())
    moved = evaluate(model, x, y, weights={"at": torch.tensor(-1.5)})
    assert moved.accuracy == 6 / 7 and moved.loss != found.loss
    assert model.at.item() == 0
    first = evaluate(model, x, y, most=2)
    assert (first.accuracy, first.records) == (0.5, 2)
    assert evaluate(model, x, y, most=SUBSET).records == 7


def test_f1_is_of_the_second_of_two_classes() -> None:
    x = torch.tensor([-2.0, 1.0, 2.0, 3.0, -3.0])
    found = evaluate(Threshold(), x, torch.tensor([1, 0, 1, 1, 0]))
    # Two of three are found, and two of three alarms are right.
    assert found.f1 == pytest.approx(2 / 3) == found.metrics["test_f1"] and found.accuracy == 0.6
    assert evaluate(Threshold(), -x.abs(), torch.zeros(5, dtype=torch.long)).f1 == 0.0
    assert evaluate(nn.Linear(1, 3), torch.zeros(2, 1), torch.tensor([0, 2])).f1 is None


def test_perplexity_is_over_the_asked_tokens_of_all_records(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chances(nn.Module):
        """The next token after 0 is 1 with three quarters, after 1 each with a half; counts its calls."""

        rows: ClassVar[list[int]] = []

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            self.rows.append(len(ids))
            return torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()[ids]

    x = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 1, 1]])
    y = torch.tensor([[1, 0, -100], [0, -100, -100], [-100, -100, -100]])
    monkeypatch.setattr(evaluation, "_TOKENS", 6)
    found = evaluate(Chances(), x, y)
    bits = (-np.log2(0.75) + 1 + 2) / 3
    assert found.metrics == pytest.approx(
        {"test_bits": bits, "test_perplexity": 2**bits, "test_loss": bits * np.log(2)}, rel=1e-5
    )
    assert Chances.rows == [1, 2, 1], (
        "one record to see how large its logits are, then as many tokens as may be at once"
    )
    monkeypatch.setattr(evaluation, "_LOGITS", 4 * 6)
    assert evaluate(Chances(), x, y) == found and Chances.rows[4:] == [1, 1, 1]


def test_a_loss_that_is_no_number_leaves_what_is_known() -> None:
    assert Evaluation(float("nan"), 3, accuracy=0.5).metrics == {"test_accuracy": 0.5}
    assert Evaluation(1e6, 3).metrics.keys() == {"test_loss", "test_bits"}


def test_exported_weights_carry_what_was_promised(tmp_path: Path) -> None:
    export_weights(checkpoint(), PlainVault(), tmp_path / "weights.safetensors")
    with safetensors.safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert sorted(file.keys()) == ["a.weight", "b"]
        torch.testing.assert_close(file.get_tensor("a.weight"), torch.ones(2, 3))  # 0.271 / (1 − 0.9³)
        notes = file.metadata()
    assert json.loads(notes["plan"])["noise_multiplier"] == 2.0
    assert RunConfig.from_json(notes["config"]) == CONFIG
    assert float(notes["epsilon"]) == pytest.approx(epsilon(256 / 1442, 2.0, 3, 1e-4), abs=1e-3)
    assert (notes["step"], float(notes["delta"])) == ("3", 1e-4)


def test_weights_without_noise_claim_no_epsilon(tmp_path: Path) -> None:
    config = RunConfig.from_dict({"privacy": {"noise_multiplier": 0.0}})
    export_weights(checkpoint(config=config, plan=preflight(config).plan, average={}), PlainVault(), tmp_path / "w")
    with safetensors.safe_open(tmp_path / "w", "pt") as file:
        assert file.metadata()["epsilon"] == "inf"


def test_background_work_says_how_far_it_is_and_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_EVERY", 0.01)
    gate = threading.Event()

    def work(progress):
        progress(1, 4, "Computing features")
        progress(2, 4, "Computing features")
        gate.wait(20)
        return "result"

    running = background.narrated(work, lambda: False)
    event = next(running)
    assert (event.kind, event.message, event.data) == ("info", "Computing features 50 %", {"done": 2, "total": 4})
    gate.set()
    with pytest.raises(StopIteration) as end:
        while True:
            next(running)
    assert end.value.value == "result"


def test_unwanted_background_work_ends_at_its_next_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_EVERY", 0.01)
    gate, ended = threading.Event(), threading.Event()

    def work(progress):
        gate.wait(20)
        try:
            progress(1, 4, "Computing features")
        finally:
            ended.set()

    with pytest.raises(background.Unwanted):
        list(background.narrated(work, lambda: True))
    assert not ended.is_set()
    gate.set()
    assert ended.wait(20)


def test_background_failure_reaches_the_caller() -> None:
    def work(progress):
        raise FileNotFoundError("no such data")

    with pytest.raises(FileNotFoundError, match="no such data"):
        list(background.narrated(work, lambda: False))


def test_auto_takes_the_best_device_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert not torch.backends.cudnn.allow_tf32
