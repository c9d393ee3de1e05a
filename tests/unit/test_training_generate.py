"""Text from models whose next tokens are known."""

from __future__ import annotations

import itertools

import pytest
import torch

from privlab.models.tokens import Bytes
from privlab.training.generate import beam_search, beginning, generate

TOKENS = Bytes()


class Table:
    """Scores of the next token by the last one alone; counts the calls and the longest text seen."""

    def __init__(self, seed: int, size: int = TOKENS.size) -> None:
        self.scores = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
        self.longest = 0

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        self.longest = max(self.longest, ids.shape[1])
        return self.scores[ids]


def says(text: str, end: bool = True) -> Table:
    """A table that says ``text`` once, if no byte of it comes twice."""
    ids = TOKENS.ids(text)
    table = Table(0)
    table.scores.zero_()
    for before, after in itertools.pairwise(ids if end else ids[:-1]):
        table.scores[before, after] = 9.0
    return table


def written(model, prompt: str = "", **how) -> list[str]:
    return list(generate(model, TOKENS, prompt, **({"most": 50, "context": 64} | how)))


def test_it_ends_where_the_text_does() -> None:
    assert written(says("abcdef")) == list("abcdef")
    assert "".join(written(says("abcdef"), "abc")) == "def"
    assert "".join(written(says("abcdef"), most=2)) == "ab"


def test_characters_of_several_bytes_come_whole() -> None:
    pieces = written(says("aé€b"))
    assert pieces == ["a", "é", "€", "b"]
    # One that never becomes whole is told at the end, marked.
    assert "".join(written(says("aé€b"), most=2)) == "a\ufffd"


def test_greedy_takes_the_likeliest() -> None:
    model = Table(1)
    model.scores[:, TOKENS.edge] = -9
    ids = beginning(TOKENS, "x")
    assert ids == [TOKENS.edge, ord("x")]
    for _ in range(8):
        row = model.scores[ids[-1]].clone()
        row[TOKENS.pad] = -torch.inf
        ids.append(int(row.argmax()))
    assert "x" + "".join(written(model, "x", most=8)) == TOKENS.decode(ids)


def test_draws_follow_the_temperature_and_the_seed() -> None:
    model = Table(2)
    model.scores[:, TOKENS.edge] = -99

    def draw(seed: int, **how) -> str:
        return "".join(written(model, "x", most=30, generator=torch.Generator().manual_seed(seed), **how))

    assert draw(0, temperature=1.0) == draw(0, temperature=1.0) != draw(1, temperature=1.0)
    assert draw(0, temperature=1.0, top_k=1) == "".join(written(model, "x", most=30))
    assert draw(0, temperature=1e-6) == draw(1, temperature=1e-6)


def test_draws_have_the_chances_of_the_softmax() -> None:
    model = Table(0)
    model.scores.fill_(-99.0)
    model.scores[TOKENS.edge, [ord("a"), ord("b")]] = torch.tensor([1.0, 0.0])
    source = torch.Generator().manual_seed(0)
    drawn = "".join("".join(written(model, most=1, temperature=2.0, generator=source)) for _ in range(2000))
    expected = torch.tensor([0.5, 0.0]).softmax(0)[0].item()
    assert abs(drawn.count("a") / 2000 - expected) < 5 * (expected * (1 - expected) / 2000) ** 0.5


def test_only_the_last_tokens_are_read() -> None:
    model = Table(3)
    model.scores[:, TOKENS.edge] = -99
    written(model, "x" * 40, most=3, context=16)
    assert model.longest == 16


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_likeliest_text_of_all(seed: int) -> None:
    class Few(Bytes):
        """Four tokens: two letters, padding and the edge."""

        size, pad, edge = 4, 2, 3

    model, length = Table(seed, 4), 4
    scores = model.scores.clone()
    scores[:, Few.pad] = -torch.inf
    chances = scores.log_softmax(1)

    def worth(text: tuple[int, ...], over: bool) -> float:
        path = [Few.edge, *text, *([Few.edge] if over else [])]
        return sum(chances[a, b].item() for a, b in itertools.pairwise(path))

    texts = [(text, n < length) for n in range(length + 1) for text in itertools.product((0, 1), repeat=n)]
    best = max(texts, key=lambda each: worth(*each))
    found = beam_search(model, Few(), [Few.edge], most=length, context=9, beams=16)
    assert tuple(found[0]) == best[0]


def test_one_beam_is_greedy() -> None:
    model = Table(5)
    (found,) = beam_search(model, TOKENS, [TOKENS.edge], most=6, context=9, beams=1)
    assert TOKENS.decode(found) == "".join(written(model, most=6))
    assert "".join(written(model, most=6, beams=2)) == TOKENS.decode(
        beam_search(model, TOKENS, [TOKENS.edge], most=6, context=64, beams=2)[0]
    )
