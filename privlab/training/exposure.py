"""How much of planted secrets a language model gives away: exposure, and whether it recites them.

Exposure (Carlini et al. 2019, "The Secret Sharer", arXiv:1802.08232, section 4) is log₂|R| - log₂ rank: the secret is ranked among
|R| codes of its kind by how likely the model finds each after the secret's beginning. Of a secret that nothing was learnt of every
rank is as likely, so that it is exposed by e bits or more with probability 2^-e. Recited is a secret whose every token is the
model's first choice (greedy decoding), or that beam search finds (both: section 6 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from privlab.data.load import NOT_ASKED
from privlab.data.secrets import Secret, candidates, space
from privlab.metrics import SECRET_CODES, SECRETS_WATCHED
from privlab.models.tokens import LanguageTokenizer, encode, next_tokens
from privlab.training.evaluate import Logits, records_at_once, released
from privlab.training.generate import beam_search

#: Beginnings that the search for a secret keeps.
_BEAMS = 4


@dataclass(frozen=True)
class Exposure:
    """What the model gives away of one secret.

    Attributes:
        secret: the planted one.
        bits: its exposure, 0 … log₂ of the codes it was ranked among.
        by: how the model goes on from the secret's beginning with its code, ``greedy decoding`` or ``beam search``; None if by neither.
    """

    secret: Secret
    bits: float
    by: str | None

    @property
    def recited(self) -> bool:
        return self.by is not None


def exposures(
    model: nn.Module,
    tokens: LanguageTokenizer,
    secrets: Sequence[Secret],
    *,
    context: int,
    device: torch.device,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[Exposure, ...]:
    """What ``model`` gives away of the first ten ``secrets``.

    Args:
        secrets: all that were planted.
        model: ids (n, L) → logits (n, L, V).
        context: tokens that the model reads at most; what of a text lies behind them counts for nothing.
        weights: used instead of the model's own parameters of these names.
    """
    watched, planted = secrets[:SECRETS_WATCHED], {secret.code for secret in secrets}
    with released(model, weights) as logits:
        ways = _ways(logits, tokens, watched, context, device)
        return tuple(
            Exposure(secret, _bits(logits, tokens, secret, planted, context, device), by)
            for secret, by in zip(watched, ways, strict=True)
        )


def summary(found: Sequence[Exposure]) -> dict[str, float]:
    """For a point, by key of ``METRICS``; empty where nothing was planted."""
    if not found:
        return {}
    bits = [exposure.bits for exposure in found]
    recited = float(sum(exposure.recited for exposure in found))
    return {"exposure_max": max(bits), "exposure_mean": sum(bits) / len(bits), "recited": recited}


def _bits(
    logits: Logits, tokens: LanguageTokenizer, secret: Secret, planted: set[str], context: int, device: torch.device
) -> float:
    # The same codes at each look. Other planted secrets are none of them: those the model may have learnt too.
    drawn = candidates(secret.kind, min(SECRET_CODES + len(planted), space(secret.kind)), f"beside {secret.text}")
    others = [code for code in drawn if code not in planted][: SECRET_CODES - 1]
    texts = [secret.text, *(secret.prefix + code for code in others)]
    x, y = _asked(tokens, texts, context, device)
    size = records_at_once(logits, x)
    costs = torch.cat([_costs(logits(a), b) for a, b in zip(x.split(size), y.split(size), strict=True)])
    # A tie counts against the model: it finds the secret no likelier than that code.
    rank = 1 + int((costs[1:] <= costs[0]).sum())
    return math.log2(len(texts) / rank)


def _ways(
    logits: Logits, tokens: LanguageTokenizer, secrets: Sequence[Secret], context: int, device: torch.device
) -> list[str | None]:
    """How the model goes on with each code from its beginning; None where it does not."""
    x, y = _asked(tokens, [secret.text for secret in secrets], context, device)
    first = logits(x).argmax(2) == y
    found = []
    for row, secret in zip(first, secrets, strict=True):
        ids, beginning = tokens.ids(secret.text), tokens.ids(secret.prefix)
        start, end = _shared(ids, beginning), len(ids) - _shared(ids[::-1], beginning[::-1])
        # A code that the model cannot read whole is none that it recites.
        if end - 1 > len(row):
            found.append(None)
            continue
        # Greedy decoding says it exactly where each of its tokens is the first choice behind the ones before; what is asked at a
        # place is the token behind it.
        if row[start - 1 : end - 1].all():
            found.append("greedy decoding")
        elif _searched(logits, tokens, ids[:start], end - start, context, device) == ids[start:end]:
            found.append("beam search")
        else:
            found.append(None)
    return found


def _searched(
    logits: Logits, tokens: LanguageTokenizer, ids: list[int], most: int, context: int, device: torch.device
) -> list[int]:
    return beam_search(lambda x: logits(x.to(device)), tokens, ids, most=most, context=context, beams=_BEAMS)[0]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _asked(
    tokens: LanguageTokenizer, texts: Sequence[str], context: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Inputs and next tokens, no longer than the longest of the texts."""
    ids = encode(tokens, texts, context + 1)
    longest = int((ids != tokens.pad).sum(1).max())
    x, y = next_tokens(ids[:, :longest], tokens.pad)
    return x.to(device), y.to(device)


def _costs(logits: Tensor, y: Tensor) -> Tensor:
    """-ln of the probability of each whole text, (n,) float64."""
    each = cross_entropy(logits.flatten(0, 1).float(), y.flatten(), reduction="none", ignore_index=NOT_ASKED)
    return each.view_as(y).double().sum(1)
