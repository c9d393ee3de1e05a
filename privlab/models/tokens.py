"""Texts as numbers, by vocabularies that are public: none is learnt from the texts of a run, which would tell of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from privlab.data.load import NOT_ASKED
from privlab.data.own import is_own
from privlab.data.weightfiles import TOKENIZER
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.facts import BYTE_TOKENS, WORD_BUCKETS
from privlab.models.families import TASKS
from privlab.models.packaged import described, packaged

#: Fills up texts of a model that has no token to spare for it.
NO_TOKEN = -1
_WORD = re.compile(r"\w+|[^\w\s]")


class Tokenizer(Protocol):
    """Texts to ids.

    Attributes:
        size: V, ids there are.
        pad: id that fills up short texts; ``NO_TOKEN`` where it is none of the ``size`` ids.
    """

    size: int
    pad: int

    def ids(self, text: str) -> list[int]:
        """Ids of a text, with its beginning and, where ends are told, its end."""


class LanguageTokenizer(Tokenizer, Protocol):
    """And back again.

    Attributes:
        edge: id between texts: where one ends.
    """

    edge: int

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, without edges; what is no text is marked."""


class Bytes:
    """The bytes of UTF-8."""

    pad = 256
    #: Between texts, as GPT-2 has one token for beginning and end.
    edge = 257
    size = BYTE_TOKENS

    def ids(self, text: str) -> list[int]:
        return [self.edge, *text.encode(), self.edge]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; what is no text is marked."""
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class HashedWords:
    """Words and signs, each in one of many buckets by a fixed hash (Weinberger et al. 2009, arXiv:0902.2206).

    Small and capital letters count the same. Words that share a bucket cannot be told apart, and there is no way back.
    """

    pad, begin = 0, 1
    size = WORD_BUCKETS

    def ids(self, text: str) -> list[int]:
        words = _WORD.findall(text.lower())
        return [self.begin, *(2 + zlib.crc32(word.encode()) % (self.size - 2) for word in words)]


class WordPieces:
    """MiniLM's WordPiece (Wu et al. 2016, arXiv:1609.08144), learnt from public texts; small and capital letters count the same.

    Args:
        context: most tokens of a text; a longer one is cut off, and its end is still marked.

    Raises:
        DataMissing: not fetched yet.
    """

    pad = 0
    size = TRANSFORMERS["minilm"].vocabulary

    def __init__(self, context: int = TRANSFORMERS["minilm"].context) -> None:
        self._tokens = _packaged_tokens("minilm")
        self._tokens.no_padding()
        self._tokens.enable_truncation(context)

    def ids(self, text: str) -> list[int]:
        return self._tokens.encode(text).ids


class Pieces:
    """TinyStories' byte pairs, learnt from public texts. Raises DataMissing: not fetched yet."""

    #: “Unknown”, which no text has: what is no piece is bytes.
    pad = 0
    #: “Beginning”, which stood between the stories that the model learnt from.
    edge = 1
    size = TRANSFORMERS["tinystories"].vocabulary
    _special = range(3)

    def __init__(self) -> None:
        self._tokens = _packaged_tokens("tinystories")

    def ids(self, text: str) -> list[int]:
        return [self.edge, *self._tokens.encode(text, add_special_tokens=False).ids, self.edge]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; what is no text is marked."""
        return self._tokens.decode([int(i) for i in ids if int(i) not in self._special], skip_special_tokens=False)


class OwnMarked:
    """Tokens of an added classifier, between the marks that its tokenizer sets. Raises DataMissing: not on this machine.

    Args:
        key: of an added model.
    """

    def __init__(self, key: str) -> None:
        about = described(key)
        self.size, self.pad = about.form.vocabulary, about.pad
        self._tokens = _own_tokens(key)
        self._tokens.enable_truncation(about.form.context)

    def ids(self, text: str) -> list[int]:
        return self._tokens.encode(text).ids


class OwnLanguage:
    """Tokens of an added language model, between beginning and end. Raises DataMissing: not on this machine.

    Args:
        key: of an added model.
    """

    #: None of its ids: a vocabulary may have no token to spare, and its end must be told from what is behind it.
    pad = NO_TOKEN

    def __init__(self, key: str) -> None:
        about = described(key)
        self.size, self._begin, self.edge = about.form.vocabulary, about.begin, about.end
        self._tokens = _own_tokens(key)
        self._tokens.no_truncation()

    def ids(self, text: str) -> list[int]:
        return [self._begin, *self._tokens.encode(text, add_special_tokens=False).ids, self.edge]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; what is no text is marked."""
        return self._tokens.decode([int(i) for i in ids if int(i) not in (self._begin, self.edge)])


def _packaged_tokens(key: str):
    # Optional.
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(packaged(key, TOKENIZER)))


def _own_tokens(key: str):
    tokens = _packaged_tokens(key)
    tokens.no_padding()
    # What a text spells like a special piece, as “<|endoftext|>”, stays text.
    tokens.encode_special_tokens = True
    return tokens


_TOKENIZERS = {"small-bert": HashedWords, "small-gpt": Bytes, "minilm": WordPieces, "tinystories": Pieces}


def tokenizer(model_key: str) -> Tokenizer:
    """What turns texts into the ids that the model takes.

    Raises:
        KeyError: a model that takes no tokens.
        DataMissing: its vocabulary is not on this machine.
    """
    if is_own(model_key):
        classifies = TASKS[described(model_key).form.family] == "classify"
        return (OwnMarked if classifies else OwnLanguage)(model_key)
    return _TOKENIZERS[model_key]()


def encode(tokens: Tokenizer, texts: Sequence[str], context: int) -> Tensor:
    """Ids (texts, ``context``) int64: each text's first ones, filled up on the right."""
    found = torch.full((len(texts), context), tokens.pad)
    for row, text in zip(found, texts, strict=True):
        ids = torch.tensor(tokens.ids(text)[:context])
        row[: len(ids)] = ids
    return found


def next_tokens(ids: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """What a language model is given of (n, L + 1) ids, and what it is asked: (n, L) each, NOT_ASKED where the text is over."""
    following = ids[:, 1:]
    return ids[:, :-1].contiguous(), following.masked_fill(following == pad, NOT_ASKED)
