"""What the model is given: texts without the padding they share, and some of each user's texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from privlab.data.catalogue import DATASETS
from privlab.data.load import NOT_ASKED
from privlab.dpsgd.clock import PhaseClock
from privlab.dpsgd.guards import MechanismError
from privlab.dpsgd.methods import gradients_for
from privlab.dpsgd.noise import noise_source
from privlab.dpsgd.selfcheck import self_check
from privlab.dpsgd.step import PrivateStep
from privlab.dpsgd.views import ShortTexts, TextsOfUsers, cut, lengths
from privlab.models.build import build
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.tokens import next_tokens, tokenizer
from privlab.privacy.plan import PrivacyPlan
from privlab.training.evaluate import evaluate

#: Tokens of each text.
LENGTHS = [3, 9, 17, 0, 30, 8, 1]


def texts(model: str) -> tuple[Tensor, Tensor]:
    tokens, generator = tokenizer(model), torch.Generator().manual_seed(0)
    ids = torch.full((len(LENGTHS), TRANSFORMERS[model].context + 1), tokens.pad)
    for row, length in zip(ids, LENGTHS, strict=True):
        row[:length] = torch.randint(2, 200, (length,), generator=generator)
    if model == "small-gpt":
        return next_tokens(ids, tokens.pad)
    return ids[:, :-1].contiguous(), torch.arange(len(ids)) % 2


DATA = {"small-bert": "sms-spam", "small-gpt": "sms-messages"}
BOTH = pytest.mark.parametrize("model", DATA)


def test_padding_in_the_middle_of_a_text_belongs_to_it() -> None:
    x = torch.tensor([[5, 0, 6, 0, 0], [0, 0, 0, 0, 0], [7, 7, 7, 7, 7]])
    assert lengths(x, 0).tolist() == [3, 0, 5]


def test_what_all_texts_lack_is_cut_off_and_nothing_else() -> None:
    x, y = texts("small-gpt")
    rows, asked = cut(x, y, tokenizer("small-gpt").pad)
    assert rows.shape == asked.shape == (7, 32)
    assert (y[:, 32:] == NOT_ASKED).all() and torch.equal(rows, x[:, :32]) and torch.equal(asked, y[:, :32])
    x, y = texts("small-bert")
    rows, labels = cut(x[3:4], y[3:4], 0)
    assert rows.shape == (1, 8) and torch.equal(labels, y[3:4])
    full = torch.ones(2, 64, dtype=torch.long)
    assert cut(full, y[:2], 0)[0] is not None and cut(full, y[:2], 0)[0].shape == (2, 64)
    assert cut(x[:0], y[:0], 0)[0].shape == (0, 8)


@BOTH
@pytest.mark.parametrize("method", ["one-pass", "hooks", "ghost", "plain"])
def test_gradients_are_those_of_padded_texts(model: str, method: str) -> None:
    x, y = texts(model)
    bound = None if method == "plain" else 0.5

    def found(x: Tensor, y: Tensor) -> Tensor:
        gradients = gradients_for(method, build(model, DATASETS[DATA[model]], seed=0), bound)
        gradients.differentiate(x, y)
        gradients.clip()
        return torch.cat([p.grad.flatten() for p in gradients.parameters])

    padded, short = found(x, y), found(*ShortTexts(tokenizer(model).pad).of(x, y, torch.arange(len(x))))
    assert (padded - short).norm() <= 1e-5 * padded.norm()


@BOTH
def test_measurements_are_those_of_padded_texts(model: str) -> None:
    x, y = texts(model)
    network = build(model, DATASETS[DATA[model]], seed=0)
    padded, short = evaluate(network, x, y), evaluate(network, x, y, pad=tokenizer(model).pad)
    assert short.loss == pytest.approx(padded.loss, rel=1e-5)
    assert (short.records, short.accuracy, short.f1) == (padded.records, padded.accuracy, padded.f1)


def of_users(model: str = "small-gpt") -> tuple[Tensor, Tensor]:
    """Four users with 1, 2, 3 and 5 texts of one token each, told apart by it: 10 and 20, 21 …"""
    counts = [1, 2, 3, 5]
    x = torch.full((4, 5, 128), tokenizer(model).pad)
    y = torch.full((4, 5, 128), NOT_ASKED)
    for user, count in enumerate(counts):
        x[user, :count, 0] = 10 * (user + 1) + torch.arange(count)
        y[user, :count, 0] = 1
    return x, y


def drawn(views: TextsOfUsers, x: Tensor, y: Tensor, members: Tensor, step: int = 1) -> Tensor:
    views.begin(step)
    rows, asked = views.of(x, y, members)
    assert rows.shape == asked.shape == (len(x) * views.count, 8) and (asked[:, 0] == 1).all()
    return rows[:, 0].view(len(x), views.count)


def test_a_users_texts_come_all_before_one_comes_twice() -> None:
    x, y = of_users()
    found = drawn(TextsOfUsers(3, 0, tokenizer("small-gpt").pad), x, y, torch.arange(4))
    assert found[0].tolist() == [10, 10, 10]
    assert set(found[1].tolist()) == {20, 21} and set(found[2].tolist()) == {30, 31, 32}
    assert len(set(found[3].tolist())) == 3 and set(found[3].tolist()) <= set(range(40, 45))


def test_every_text_of_a_user_is_drawn_as_often() -> None:
    x, y = of_users()
    views = TextsOfUsers(2, 0, tokenizer("small-gpt").pad)
    counts = torch.zeros(5)
    for step in range(1, 501):
        for text in drawn(views, x, y, torch.arange(4), step)[3].tolist():
            counts[text - 40] += 1
    # 1,000 draws, 200 of each text: five deviations of a binomial.
    assert (counts - 200).abs().max() < 5 * (1000 * 0.2 * 0.8) ** 0.5


def test_a_user_who_leaves_moves_no_others_texts() -> None:
    x, y = of_users()
    views, others = TextsOfUsers(3, 5, tokenizer("small-gpt").pad), torch.tensor([0, 1, 3])
    whole, without = (drawn(views, x[some], y[some], some) for some in (torch.arange(4), others))
    assert torch.equal(whole[others], without)


def users_step(method: str = "one-pass", count: int = 3) -> PrivateStep:
    model = build("small-gpt", DATASETS["sms-messages"], seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = noise_source("reproducible", "none", 1, torch.device("cpu"), 7)
    views = TextsOfUsers(count, 3, tokenizer("small-gpt").pad)
    plan = PrivacyPlan(4, 2, 9, noise_multiplier=1.0, max_grad_norm=0.5, delta=1e-2, unit="user")
    return PrivateStep(model, plan, method, optimizer, noise, 64, views)


@pytest.mark.parametrize("method", ["one-pass", "hooks"])
def test_a_user_with_many_texts_moves_the_sum_by_c_at_most(method: str) -> None:
    step = users_step(method)
    found = self_check(step, *texts("small-gpt"))
    assert found.sensitivity <= 1 + 1e-4 and found.gradient_error < 1e-4
    x, y = of_users()
    report = step.run(x, y, torch.arange(4), PhaseClock(torch.device("cpu")))
    assert [len(chunk.norms) for chunk in report.chunks] == [4]


def test_texts_clipped_one_by_one_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = users_step()
    step.gradients.views = 1
    with pytest.raises(MechanismError, match="Self-check failed"):
        self_check(step, *texts("small-gpt"))
