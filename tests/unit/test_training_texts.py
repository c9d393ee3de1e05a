"""Training on texts, end to end: classes and language, privately, paused and gone on with."""

from __future__ import annotations

import pytest
import torch

from privlab.config import RunConfig
from privlab.config.sections import LANGUAGE_TEXTS, PARTLY_TRAINED
from privlab.data.catalogue import DATASETS
from privlab.data.secrets import secrets_of
from privlab.dpsgd.guards import MechanismError
from privlab.metrics import METRICS, Point
from privlab.models.build import build
from privlab.models.catalogue import MODELS
from privlab.models.sizes import parameters
from privlab.models.tokens import tokenizer
from privlab.preflight import preflight
from privlab.training import trainer
from privlab.training.attack import ask_model
from privlab.training.checkpoint import Checkpoint
from privlab.training.cost import measure
from privlab.training.export import weights_file
from privlab.training.inputs import inputs
from privlab.training.remeasure import measured_again
from privlab.training.train import train
from privlab.training.trainer import Trainer

SPAM = RunConfig.from_dict(
    {
        "data": {"dataset": "sms-spam"},
        "model": {"name": "small-bert"},
        "privacy": {"noise_multiplier": 1.0, "delta": 1e-4, "max_grad_norm": 0.5},
        "training": {"batch_size": 16, "epochs": 1, "optimizer": "adam", "learning_rate": 0.002, "curve_points": 2000},
    }
)
MESSAGES = SPAM.replace(data__dataset="sms-messages", model__name="small-gpt", training__batch_size=8)
BOTH = pytest.mark.parametrize("config", [SPAM, MESSAGES], ids=["classify", "language"])


def run(config: RunConfig, steps: int, resume: Checkpoint | None = None) -> tuple[list[Point], Checkpoint]:
    """The points of the next ``steps`` steps, one each, and the checkpoint after them."""
    points, saved = [], []

    def save(checkpoint: Checkpoint) -> None:
        saved.append(Checkpoint.from_bytes(checkpoint.to_bytes()))

    for item in train(config, resume=resume, save=save):
        if isinstance(item, Point):
            points.append(item)
        if len(points) == steps:
            break
    return points, saved[-1]


@BOTH
def test_points_say_what_was_reached_and_what_it_cost(config: RunConfig) -> None:
    (point,), kept = run(config, 1)
    known = {"test_perplexity", "test_bits"} if config is MESSAGES else {"test_accuracy", "test_f1"}
    assert known | {"test_loss", "train_loss", "clipped_share", "grad_norm_p50", "snr"} <= point.metrics.keys()
    assert point.metrics.keys() <= METRICS.keys() and point.epsilon > 0
    assert ("test_accuracy" in point.metrics) == (config is SPAM)
    # What is measured again from the checkpoint is the same.
    again = measured_again(config, kept)
    for key in known:
        assert again.metrics[key] == pytest.approx(point.metrics[key], rel=1e-5)


@BOTH
@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost"])
def test_every_method_trains_or_says_by_name_why_not(config: RunConfig, method: str) -> None:
    try:
        (point,), _ = run(config.replace(performance__gradient_method=method), 1)
    except MechanismError as refusal:
        assert method != "one-pass" and "Use one-pass" in str(refusal)
        return
    assert point.metrics["non_finite"] == 0


@BOTH
def test_a_reproducible_run_goes_on_bit_for_bit(config: RunConfig) -> None:
    config = config.replace(privacy__randomness="reproducible")
    whole, together = run(config, 4)
    rest, later = run(config, 2, resume=run(config, 2)[1])
    assert [p.step for p in rest] == [3, 4]
    for name, tensor in together.parameters.items():
        assert torch.equal(tensor, later.parameters[name]), name
    assert rest[-1].metrics["test_loss"] == whole[-1].metrics["test_loss"]


def test_a_part_that_trains_is_all_that_is_kept() -> None:
    config = SPAM.replace(model__trains="head")
    checked = preflight(config)
    _, kept = run(config, 1)
    assert (
        sum(t.numel() for t in kept.parameters.values())
        == parameters("small-bert", "sms-spam", "head")
        < parameters("small-bert", "sms-spam")
    )
    assert checked.trains == "head"
    found = ask_model(config, weights_file(kept))
    assert 0 <= found.advantage < 0.2


def test_made_up_secrets_stand_in_the_training_texts_alone() -> None:
    config = MESSAGES.replace(data__secrets=3, data__secret_repeats=4)
    plain, marked = inputs(MESSAGES), inputs(config)
    assert plain.train_x.shape == marked.train_x.shape
    assert torch.equal(plain.test_x, marked.test_x)
    changed = (plain.train_x != marked.train_x).any(1).sum().item()
    assert 0 < changed <= 12
    assert len(secrets_of(config)) == 3 and secrets_of(MESSAGES) == ()


def test_few_texts_are_taken_at_once_where_their_logits_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, data = preflight(MESSAGES), inputs(MESSAGES)
    each = 4 * data.train_x.shape[1] * tokenizer("small-gpt").size
    monkeypatch.setattr("privlab.training.trainer._LOGITS", 3 * each)
    assert Trainer(checked, data, torch.device("cpu"))._step.physical_batch_size == 3


def test_few_texts_are_taken_at_once_where_much_is_kept_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, data = preflight(SPAM), inputs(SPAM)
    bert = build("small-bert", DATASETS["sms-spam"], 0, checked.trains)
    _, kept = trainer._kept(bert, data.train_x[:1])
    _, double = trainer._kept(bert, data.train_x[:2])
    assert double == 2 * kept, "parameters are not counted"
    monkeypatch.setattr(trainer, "_KEPT", 3 * kept)
    assert Trainer(checked, data, torch.device("cpu"))._step.physical_batch_size == 3


@BOTH
@pytest.mark.parametrize("method", ["one-pass", "plain"])
def test_a_step_on_texts_is_measured(config: RunConfig, method: str) -> None:
    cost = measure(preflight(config), method, 0.05)
    assert cost.seconds > 0 and cost.evaluation > 0 and cost.steps >= 1


def test_settings_name_the_data_sets_and_models_that_the_catalogues_do() -> None:
    language = tuple(key for key, facts in DATASETS.items() if facts.task == "language")
    assert set(LANGUAGE_TEXTS) == set(language)
    assert {key for key, facts in MODELS.items() if facts.trains != ("all",)} | {"own-*"} == set(PARTLY_TRAINED)


def test_texts_that_are_cut_off_are_told_of_by_public_ones_alone() -> None:
    def told(config: RunConfig) -> list[dict]:
        items = []
        for item in train(config):
            items.append(item)
            if isinstance(item, Point):
                break
        return [item.data for item in items if not isinstance(item, Point) and "full_texts" in item.data]

    (messages,) = told(MESSAGES)
    data = inputs(MESSAGES)
    pad = tokenizer("small-gpt").pad
    assert messages == {"full_texts": (data.test_x[:, -1] != pad).double().mean().item(), "context": 128}
    assert 0 < messages["full_texts"] < 1
    assert told(RunConfig.from_dict({**SPAM.to_dict(), "data": {"dataset": "digits"}, "model": {"name": "mlp"}})) == []
