"""Transformers that others have trained on public texts: MiniLM (BERT) and TinyStories (Llama), by the package transformers.

Their layers are transformers' own and are called one by one, so that padding, places and what may be seen are plain to see. There
is no dropout and no cache. Tables of words and places stay as they were published: noise would be added to every row of them, while
a record reads a few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from privlab.models.packaged import load_packaged, sizes

if TYPE_CHECKING:
    from transformers import BertModel, LlamaModel

#: Attention is written out, so that each layer sees plain tensors with the records first.
_PLAIN = {"attn_implementation": "eager", "use_cache": False}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Bert(nn.Module):
    """BERT (Devlin et al. 2019, arXiv:1810.04805) with a new head on the mean over a text's tokens.

    Args:
        body: without dropout and pooler.
        classes: outputs of the head.
    """

    #: Modules that never train.
    fixed: ClassVar = ("embeddings",)

    def __init__(self, body: BertModel, classes: int) -> None:
        super().__init__()
        # A block of BERT ends with a norm, so that none follows the last.
        self.embeddings, self.blocks, self.norm = body.embeddings, body.encoder.layer, nn.Identity()
        self.head = nn.Linear(body.config.hidden_size, classes)
        self._pad = body.config.pad_token_id

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, L) → logits (n, classes)."""
        return self.head(self.pooled(ids))

    def pooled(self, ids: Tensor) -> Tensor:
        """Ids (n, L) → the mean over the tokens that are there, (n, width)."""
        there = ids != self._pad
        # Written out for each record: Opacus's rules take no places that all records share.
        places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape).contiguous()
        states = self.embeddings(input_ids=ids, token_type_ids=torch.zeros_like(ids), position_ids=places)
        seen = _scores(there, states.dtype)[:, None, None]
        for block in self.blocks:
            states = block(states, attention_mask=seen)
        weights = there.unsqueeze(2).to(states.dtype)
        return (self.norm(states) * weights).sum(1) / weights.sum(1).clamp(min=1)


class Llama(nn.Module):
    """Llama (Touvron et al. 2023, arXiv:2302.13971) whose head is its table of tokens, which both never train."""

    fixed: ClassVar = ("embeddings", "head")

    def __init__(self, body: LlamaModel) -> None:
        super().__init__()
        self.embeddings, self.blocks, self.turns = body.embed_tokens, body.layers, body.rotary_emb
        for block in self.blocks:
            block.input_layernorm = _plain_norm(block.input_layernorm)
            block.post_attention_layernorm = _plain_norm(block.post_attention_layernorm)
        self.norm = _plain_norm(body.norm)
        self.head = nn.Linear(body.config.hidden_size, body.config.vocab_size, bias=False)
        self.head.weight = self.embeddings.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, L) → logits (n, L, V) of the next tokens. Pads stand behind all that is asked."""
        states = self.embeddings(ids)
        places = torch.arange(ids.shape[1], device=ids.device)
        turned = self.turns(states, position_ids=places[None])
        seen = _scores(places[None] <= places[:, None], states.dtype)[None, None]
        for block in self.blocks:
            states = block(states, attention_mask=seen, position_embeddings=turned)
        return self.head(self.norm(states))


def _scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention's scores: the least number where nothing is seen. Of −∞ alone a softmax is no number."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def _plain_norm(norm: nn.Module) -> nn.RMSNorm:
    """PyTorch's own norm, which computes what Llama's does and which Opacus's hooks know."""
    plain = nn.RMSNorm(len(norm.weight), norm.variance_epsilon)
    plain.weight = norm.weight
    return plain


def bert(key: str, classes: int) -> Bert:
    """From packaged weights; the head is random. Raises KeyError: unknown weights; DataMissing: they are not here or damaged."""
    # Optional and slow to import.
    from transformers import BertConfig, BertModel

    body = BertModel(BertConfig.from_dict(sizes(key) | _PLAIN | _NO_DROPOUT), add_pooling_layer=False)
    load_packaged(body, key)
    return Bert(body, classes)


def llama(key: str) -> Llama:
    """From packaged weights. Raises KeyError: unknown weights; DataMissing: they are not here or damaged."""
    from transformers import LlamaConfig, LlamaModel

    body = LlamaModel(LlamaConfig.from_dict(sizes(key) | _PLAIN))
    load_packaged(body, key)
    return Llama(body)
