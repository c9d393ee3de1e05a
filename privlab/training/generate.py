"""Text from a language model, as it is released: token by token, or the likeliest by beam search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from privlab.models.tokens import NO_TOKEN, LanguageTokenizer
from privlab.training.evaluate import Logits


def generate(
    logits: Logits,
    tokens: LanguageTokenizer,
    prompt: str,
    *,
    most: int,
    context: int,
    temperature: float = 0.0,
    top_k: int = 0,
    beams: int = 1,
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """Go on from ``prompt``; yields pieces of text until the text ends or has ``most`` tokens.

    Args:
        logits: of :func:`privlab.training.evaluate.released`, or any model that takes no gradients.
        context: tokens that the model reads; it sees the last ones where there are more.
        temperature: 0 takes the likeliest token each time (greedy); above, tokens are drawn from softmax(logits / temperature).
        top_k: draw among so many likeliest tokens; 0 among all.
        beams: more than 1 searches for the likeliest whole text with so many beginnings at once (temperature does not matter), and
            yields it at once.
        generator: of the draws, on the CPU.
    """
    ids = beginning(tokens, prompt)
    if beams > 1:
        found = beam_search(logits, tokens, ids, most=most, context=context, beams=beams)[0]
        yield tokens.decode(ids + found)[len(tokens.decode(ids)) :]
        return
    said, start = tokens.decode(ids), len(ids)
    while len(ids) - start < most:
        scores = _next(logits, tokens, [ids], context)[0]
        token = _draw(scores, temperature, top_k, generator) if temperature else int(scores.argmax())
        if token == tokens.edge:
            break
        ids.append(token)
        now = tokens.decode(ids)
        # A character of several tokens is told when it is whole.
        if not now.endswith("\ufffd"):
            yield now[len(said) :]
            said = now
    if (rest := tokens.decode(ids)[len(said) :]) != "":
        yield rest


def beginning(tokens: LanguageTokenizer, prompt: str) -> list[int]:
    """Ids of a text that is not over yet."""
    ids = tokens.ids(prompt)
    return ids[:-1] if ids[-1] == tokens.edge and len(ids) > 1 else ids


def beam_search(
    logits: Logits, tokens: LanguageTokenizer, ids: Sequence[int], *, most: int, context: int, beams: int
) -> list[list[int]]:
    """The likeliest continuations of ``ids`` that a search finds which keeps ``beams`` of them at each length; the best first.

    Each has ``most`` tokens, or fewer where the text ends there; the end's own token is left out.
    """
    kept: list[tuple[float, list[int], bool]] = [(0.0, [], False)]
    for _ in range(most):
        open_ = [(score, found) for score, found, over in kept if not over]
        if not open_:
            break
        next_ = _next(logits, tokens, [[*ids, *found] for _, found in open_], context).log_softmax(1)
        best = next_.topk(min(beams, next_.shape[1]), 1)
        grown = [each for each in kept if each[2]]
        for (score, found), values, places in zip(open_, best.values.tolist(), best.indices.tolist(), strict=True):
            grown += [
                (score + value, found if place == tokens.edge else [*found, place], place == tokens.edge)
                for value, place in zip(values, places, strict=True)
            ]
        kept = sorted(grown, key=lambda each: -each[0])[:beams]
    return [found for _, found, _ in kept]


def _next(logits: Logits, tokens: LanguageTokenizer, texts: list[list[int]], context: int) -> Tensor:
    """Scores of the next token of each text, all of one length, (n, V) on the CPU; padding is never next."""
    scores = logits(torch.tensor([ids[-context:] for ids in texts]))[:, -1].float().cpu()
    if tokens.pad != NO_TOKEN:
        scores[:, tokens.pad] = -torch.inf
    return scores


def _draw(scores: Tensor, temperature: float, top_k: int, generator: torch.Generator | None) -> int:
    values, places = scores.topk(min(top_k, len(scores)) if top_k else len(scores))
    return int(places[torch.multinomial((values / temperature).softmax(0), 1, generator=generator)])
