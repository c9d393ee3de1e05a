"""Texts without their common padding: the same gradients and the same measurements as with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from privlab.data.catalogue import DATASETS
from privlab.data.load import NOT_ASKED
from privlab.dpsgd.methods import gradients_for
from privlab.dpsgd.views import ShortTexts, cut, lengths
from privlab.models.build import build
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.tokens import next_tokens, tokenizer
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

    padded, short = found(x, y), found(*ShortTexts(tokenizer(model).pad).of(x, y))
    assert (padded - short).norm() <= 1e-5 * padded.norm()


@BOTH
def test_measurements_are_those_of_padded_texts(model: str) -> None:
    x, y = texts(model)
    network = build(model, DATASETS[DATA[model]], seed=0)
    padded, short = evaluate(network, x, y), evaluate(network, x, y, pad=tokenizer(model).pad)
    assert short.loss == pytest.approx(padded.loss, rel=1e-5)
    assert (short.records, short.accuracy, short.f1) == (padded.records, padded.accuracy, padded.f1)
