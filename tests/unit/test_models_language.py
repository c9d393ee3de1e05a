"""Transformers from scratch and their tokens: public vocabularies, honest counts, one record's gradient for each record."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from privlab.data.catalogue import DATASETS
from privlab.data.load import NOT_ASKED
from privlab.data.texts import load_texts
from privlab.models.build import build
from privlab.models.catalogue import MODELS, TRANSFORMERS, misfit
from privlab.models.features import prepare
from privlab.models.sizes import parameters
from privlab.models.tokens import Bytes, HashedWords, encode
from tests.onerecord import check

FITS = {"small-bert": "sms-spam", "small-gpt": "sms-messages"}
CASES = [(model, part) for model in FITS for part in MODELS[model].trains]


def records(model: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    texts = load_texts(FITS[model])
    ready = prepare(texts, model)
    return ready.train_x[:n], ready.train_y[:n]


@pytest.mark.parametrize("text", ["hello", "", "naïve £5 – ok 😀", "\x00\x7f"])
def test_bytes_go_there_and_back(text: str) -> None:
    tokens = Bytes()
    ids = tokens.ids(text)
    assert ids[0] == ids[-1] == tokens.edge and max(ids) < tokens.size
    assert tokens.decode(ids) == text


def test_bytes_that_are_no_text_yet_are_marked() -> None:
    assert Bytes().decode([0xC3]) == "�"


def test_words_are_hashed_alike_wherever_they_stand() -> None:
    tokens = HashedWords()
    assert tokens.ids("Hello, hello!")[1] == tokens.ids("hello")[1]
    assert len(tokens.ids("Hello, hello!")) == 5
    assert tokens.ids("hello")[1] == 2 + 907060870 % 4094, "the hash is fixed: crc32 of “hello”"
    assert tokens.pad not in tokens.ids("a b c")


def test_texts_are_cut_off_and_filled_up() -> None:
    ids = encode(Bytes(), ["ab", "a" * 50], 8)
    assert ids.shape == (2, 8) and ids.dtype == torch.int64
    assert ids[0].tolist() == [257, 97, 98, 257, 256, 256, 256, 256]
    assert ids[1].tolist() == [257] + [97] * 7


def test_language_asks_for_each_next_token_and_no_pad() -> None:
    x, y = records("small-gpt", 50)
    short = int((x == Bytes.pad).any(1).nonzero()[0])
    length = int((x[short] != Bytes.pad).sum())
    assert torch.equal(y[short, : length - 1], x[short, 1:length])
    assert (y[short, length:] == NOT_ASKED).all() and not (y == Bytes.pad).any()
    whole = (x != Bytes.pad).all(1).nonzero().flatten()
    assert (y[whole, :-1] == x[whole, 1:]).all() and (y[whole, -1] != NOT_ASKED).all(), (
        "the last token has a next one, too"
    )


@pytest.mark.parametrize(("model", "part"), CASES)
def test_as_many_parameters_train_as_the_catalogue_says(model: str, part: str) -> None:
    built = build(model, DATASETS[FITS[model]], 0, part, 4)
    trained = sum(p.numel() for p in built.parameters() if p.requires_grad)
    assert trained == parameters(model, FITS[model], part, 4)


@pytest.mark.parametrize(("model", "part"), CASES)
def test_what_does_not_train_is_the_seeds(model: str, part: str) -> None:
    whole = dict(build(model, DATASETS[FITS[model]], 3).named_parameters())
    for name, p in build(model, DATASETS[FITS[model]], 3, part).named_parameters():
        if not p.requires_grad:
            assert torch.equal(p, whole[name.replace(".base_layer", "")])


@pytest.mark.parametrize(("model", "part"), CASES)
def test_one_pass_is_each_records_own_gradient(model: str, part: str) -> None:
    built = build(model, DATASETS[FITS[model]], 0, part)
    x, y = records(model, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in built.parameters():  # also adapters that begin at zero
            if p.requires_grad and not p.any():
                torch.nn.init.normal_(p, std=0.02)
    check(built, x, y, room=1e-4)


@pytest.mark.parametrize("model", FITS)
def test_a_record_does_not_see_its_neighbours(model: str) -> None:
    built, (x, _) = build(model, DATASETS[FITS[model]], 0).eval(), records(model, 8)
    torch.testing.assert_close(built(x)[3:4], built(x[3:4]), rtol=1e-4, atol=1e-5)


def test_padding_says_nothing() -> None:
    bert = build("small-bert", DATASETS["sms-spam"], 0)
    short = encode(HashedWords(), ["see you at six"], 8)
    torch.testing.assert_close(bert(short), bert(encode(HashedWords(), ["see you at six"], 64)))
    gpt = build("small-gpt", DATASETS["sms-messages"], 0)
    few, many = (encode(Bytes(), ["see you"], context) for context in (9, 40))
    torch.testing.assert_close(gpt(few), gpt(many)[:, :9])
    assert bert(torch.full((2, 8), HashedWords.pad)).isfinite().all(), "a text of pads alone"


def test_the_future_is_not_seen() -> None:
    gpt, ids = build("small-gpt", DATASETS["sms-messages"], 0), encode(Bytes(), ["see you at six"], 12)
    changed = ids.clone()
    changed[0, 8:] = 65
    torch.testing.assert_close(gpt(ids)[:, :8], gpt(changed)[:, :8])
    assert not torch.allclose(gpt(ids)[:, 8:], gpt(changed)[:, 8:])


def test_tasks_do_not_mix() -> None:
    assert "choose small-gpt or tinystories" in misfit("small-bert", "sms-messages")
    assert "choose small-bert" in misfit("small-gpt", "sms-spam")
    assert "choose small-bert" in misfit("logistic", "sms-spam")
    assert "choose logistic or mlp" in misfit("small-bert", "adult")


def test_a_small_gpt_learns_a_sentence_by_heart() -> None:
    gpt, tokens = build("small-gpt", DATASETS["sms-messages"], 0), Bytes()
    ids = encode(tokens, ["the code is 4711"], 17)
    optimizer = torch.optim.Adam(gpt.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(gpt(ids[:, :-1])[0], ids[0, 1:]).backward()
        optimizer.step()
    assert tokens.decode(gpt(ids[:, :-1])[0].argmax(1)) == "the code is 4711"


@pytest.mark.parametrize("form", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_heads_share_the_width(form) -> None:
    assert form.width % form.heads == 0
