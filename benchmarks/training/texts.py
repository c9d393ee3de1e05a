"""One batch of texts for each shape of transformer, and the part of it that trains."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from privlab.data.load import NOT_ASKED
from privlab.data.texts import load_texts
from privlab.models.build import build
from privlab.models.catalogue import TRANSFORMERS
from privlab.models.features import prepare
from privlab.models.tokens import tokenizer

RANK = 8
#: Fills up texts of made-up tokens.
_PAD = 0
#: Ids below this one are signs of a published vocabulary: pads, beginnings, ends.
_SIGNS = 1000
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass(frozen=True)
class TextWork:
    """One shape, trained in full or by adapters.

    Attributes:
        title: for people.
        batch: B, records of the one batch that everybody trains on again and again.
        part: ``all`` or ``lora``, adapters of rank 8 and the head.
        tokens: a key of TRANSFORMERS whose tokens of text messages the batch holds; their lengths alone where ``vocabulary``.
        network: part → the network, float32, on the CPU; the same weights each time. Ids (n, L) → logits.
        vocabulary: ids of which made-up tokens are drawn.
        packages: that it needs besides PrivLab's own.
    """

    title: str
    batch: int
    tokens: str
    network: Callable[[str], nn.Module]
    part: str = "all"
    vocabulary: int | None = None
    packages: tuple[str, ...] = ()

    @property
    def pad(self) -> int:
        """Id that fills up short texts."""
        return _PAD if self.vocabulary else self._own_pad

    @property
    def _own_pad(self) -> int:
        return tokenizer(self.tokens).pad

    def of(self, part: str) -> TextWork:
        return replace(self, part=part)

    def lacks(self) -> str | None:
        """What to install, or None."""
        needed = self.packages + (("peft",) if self.part == "lora" else ())
        lacking = [name for name in needed if find_spec(name) is None]
        return f"needs {', '.join(lacking)}: pip install -r requirements-language.txt" if lacking else None

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            return self.network(self.part)

    def records(self) -> tuple[Tensor, Tensor]:
        """Ids (B, L) int64, and classes (B,) or next tokens (B, L), ``NOT_ASKED`` where the text is over."""
        x, y = (part[: self.batch].clone() for part in _messages(self.tokens))
        if self.vocabulary:
            there = x != self._own_pad if y.dim() == 1 else y != NOT_ASKED
            made_up = torch.randint(_SIGNS, self.vocabulary, (self.batch, x.shape[1] + 1), generator=_same())
            x = made_up[:, :-1].where(there, _PAD)
            if y.dim() == 2:
                y = made_up[:, 1:].where(there, NOT_ASKED)
        return x, y


def _same() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@cache
def _messages(model: str) -> tuple[Tensor, Tensor]:
    data = prepare(load_texts("sms-spam" if model == "small-bert" else "sms-messages"), model)
    return data.train_x, data.train_y


def _small(model: str) -> Callable[[str], nn.Module]:
    facts = load_texts("sms-spam" if model == "small-bert" else "sms-messages").facts
    return lambda part: build(model, facts, seed=0, trains=part, lora_rank=RANK)


class _Logits(nn.Module):
    """A model of transformers as a function of ids alone. Pads have the id ``_PAD``."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, ids: Tensor) -> Tensor:
        return self.whole(input_ids=ids, attention_mask=(ids != _PAD).long()).logits


def _bert(part: str) -> nn.Module:
    """BERT of MiniLM's size with a head for two classes, random weights."""
    from transformers import BertConfig, BertForSequenceClassification

    form = TRANSFORMERS["minilm"]
    sizes = {"hidden_size": form.width, "intermediate_size": form.hidden, "vocab_size": form.vocabulary}
    blocks = {"num_hidden_layers": form.blocks, "num_attention_heads": form.heads}
    whole = BertForSequenceClassification(BertConfig(**sizes, **blocks, **_NO_DROPOUT))
    return _part(whole, whole.bert.embeddings, whole.bert.encoder, whole.classifier, part)


def _llama(part: str) -> nn.Module:
    """Llama of TinyStories-15M's size with a head of its own, random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    form = TRANSFORMERS["tinystories"]
    sizes = {"hidden_size": form.width, "intermediate_size": form.hidden, "vocab_size": form.vocabulary}
    blocks = {"num_hidden_layers": form.blocks, "num_attention_heads": form.heads}
    rest = {"max_position_embeddings": form.context, "use_cache": False, "tie_word_embeddings": False}
    whole = LlamaForCausalLM(LlamaConfig(**sizes, **blocks, **rest))
    return _part(whole, whole.model.embed_tokens, whole.model.layers, whole.lm_head, part)


def _part(whole: nn.Module, embeddings: nn.Module, blocks: nn.Module, head: nn.Module, part: str) -> nn.Module:
    """Tables of tokens stay as they are; all the rest trains, or adapters of each linear layer in the blocks and the head."""
    embeddings.requires_grad_(False)
    if part == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        whole.requires_grad_(False)
        linear = [name for name, layer in blocks.named_modules() if isinstance(layer, nn.Linear)]
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=linear), blocks)
        head.requires_grad_(True)
    return _Logits(whole)


TEXTS = {
    "small-bert": TextWork("PrivLab's small BERT, 64 words, B=256", 256, "small-bert", _small("small-bert")),
    "small-gpt": TextWork("PrivLab's small GPT, 128 bytes, B=128", 128, "small-gpt", _small("small-gpt")),
    "bert-mini": TextWork(
        "BertForSequenceClassification, MiniLM's size, 64 tokens, B=64",
        *(64, "small-bert", _bert),
        vocabulary=TRANSFORMERS["minilm"].vocabulary,
        packages=("transformers",),
    ),
    "llama-mini": TextWork(
        "LlamaForCausalLM, TinyStories-15M's size, 128 tokens, B=16",
        *(16, "small-gpt", _llama),
        vocabulary=TRANSFORMERS["tinystories"].vocabulary,
        packages=("transformers",),
    ),
}
