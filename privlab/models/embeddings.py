"""Sentence embeddings by MiniLM as fixed features of texts: they depend on the text and on public weights, so they cost no privacy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import torch
from torch import Tensor
from torch.nn.functional import normalize

from privlab.data.catalogue import DatasetFacts
from privlab.data.weightfiles import TENSORS, TOKENIZER
from privlab.models.kept import Features
from privlab.models.packaged import packaged
from privlab.models.pretrained import Bert, bert
from privlab.models.sizes import EMBEDDED_TOKENS, EMBEDDING_WIDTH
from privlab.models.tokens import WordPieces

#: Raise it whenever the embedding of a text changes.
_VERSION = 1
_CHUNK = 256
#: Texts of one length that go through the model at once.
_AT_ONCE = 32


def embedding_features(facts: DatasetFacts) -> Features:
    """Raises DataMissing: the weights are not on this machine."""
    model, tokens = bert("minilm", facts.classes).eval().requires_grad_(False), WordPieces(EMBEDDED_TOKENS)
    seen = hashlib.sha256()
    for name in (TENSORS, TOKENIZER):
        seen.update(packaged("minilm", name).read_bytes())
    how = f"{_VERSION} {EMBEDDED_TOKENS} {version('transformers')} {seen.hexdigest()}"
    return Features("minilm", how, (EMBEDDING_WIDTH,), _CHUNK, partial(embeddings, model, tokens))


def embeddings(model: Bert, tokens: WordPieces, texts: Sequence[str]) -> Tensor:
    """Mean-pooled embeddings of length 1 (Reimers and Gurevych 2019, arXiv:1908.10084), (texts, width).

    Texts of one length go together, so that no text is padded to the length of another.
    """
    by_length: dict[int, list[tuple[int, list[int]]]] = {}
    for number, text in enumerate(texts):
        ids = tokens.ids(text)
        by_length.setdefault(len(ids), []).append((number, ids))
    found = torch.empty(len(texts), model.head.in_features)
    with torch.inference_mode():
        for group in by_length.values():
            for at in range(0, len(group), _AT_ONCE):
                numbers, ids = zip(*group[at : at + _AT_ONCE], strict=True)
                found[list(numbers)] = normalize(model.pooled(torch.tensor(ids)), dim=1)
    return found
