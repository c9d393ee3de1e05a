"""Transformers that others have trained: BERT (as MiniLM), RoBERTa, GPT-2 and Llama (as TinyStories), by the package transformers.

Their layers are transformers' own and are called one by one, so that padding, places and what may be seen are plain to see. There
is no dropout and no cache. Tables of words and places stay as they were published: noise would be added to every row of them, while
a record reads a few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from privlab.models.packaged import described, load_packaged, packaged_head

if TYPE_CHECKING:
    from transformers import BertModel, GPT2Model, LlamaModel, RobertaModel

#: Attention is written out, so that each layer sees plain tensors with the records first.
_PLAIN = {"attn_implementation": "eager", "use_cache": False}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_NO_DROPOUT_IN_GPT2 = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


class Bert(nn.Module):
    """BERT (Devlin et al. 2019, arXiv:1810.04805) with a new head on the mean over a text's tokens.

    Args:
        body: without dropout and pooler.
        classes: outputs of the head.
    """

    #: Modules that never train.
    fixed: ClassVar = ("embeddings",)

    def __init__(self, body: BertModel | RobertaModel, classes: int) -> None:
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
        states = self.embeddings(input_ids=ids, token_type_ids=torch.zeros_like(ids), position_ids=self._places(there))
        seen = _scores(there, states.dtype)[:, None, None]
        for block in self.blocks:
            states = block(states, attention_mask=seen)
        weights = there.unsqueeze(2).to(states.dtype)
        return (self.norm(states) * weights).sum(1) / weights.sum(1).clamp(min=1)

    def _places(self, there: Tensor) -> Tensor:
        """Rows of the table of places, (n, L), from which tokens are there."""
        return _each_place(there)


class Roberta(Bert):
    """RoBERTa (Liu et al. 2019, arXiv:1907.11692), whose first place comes behind the pad's id; pads have that id for a place."""

    def _places(self, there: Tensor) -> Tensor:
        return there.long().cumsum(1) * there + self._pad


class Gpt2(nn.Module):
    """GPT-2 (Radford et al. 2019). Its tables of tokens and places and its head, which is the first of them, never train.

    Args:
        body: without dropout. Its layers become :class:`torch.nn.Linear`, which per-record rules and adapters know.
        head: (V, width), where it is not the table of tokens.
    """

    fixed: ClassVar = ("embeddings", "places", "head")

    def __init__(self, body: GPT2Model, head: Tensor | None = None) -> None:
        super().__init__()
        self.embeddings, self.places, self.blocks, self.norm = body.wte, body.wpe, body.h, body.ln_f
        for block in self.blocks:
            for part, name in (
                (block.attn, "c_attn"),
                (block.attn, "c_proj"),
                (block.mlp, "c_fc"),
                (block.mlp, "c_proj"),
            ):
                setattr(part, name, _linear(getattr(part, name)))
        self.head = _head(self.embeddings, head)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, L) → logits (n, L, V) of the next tokens. Pads stand behind all that is asked, so any token will do for them."""
        states = self.embeddings(ids.clamp(min=0)) + self.places(_each_place(ids))
        seen = _behind(ids.shape[1], states)
        for block in self.blocks:
            states = block(states, attention_mask=seen)
        return self.head(self.norm(states))


class Llama(nn.Module):
    """Llama (Touvron et al. 2023, arXiv:2302.13971). Its table of tokens and its head, often the same, never train.

    Args:
        head: (V, width), where it is not the table of tokens.
    """

    fixed: ClassVar = ("embeddings", "head")

    def __init__(self, body: LlamaModel, head: Tensor | None = None) -> None:
        super().__init__()
        self.embeddings, self.blocks, self.turns = body.embed_tokens, body.layers, body.rotary_emb
        for block in self.blocks:
            block.input_layernorm = _plain_norm(block.input_layernorm)
            block.post_attention_layernorm = _plain_norm(block.post_attention_layernorm)
        self.norm = _plain_norm(body.norm)
        self.head = _head(self.embeddings, head)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, L) → logits (n, L, V) of the next tokens. Pads stand behind all that is asked, so any token will do for them."""
        states = self.embeddings(ids.clamp(min=0))
        places = torch.arange(ids.shape[1], device=ids.device)
        turned = self.turns(states, position_ids=places[None])
        seen = _behind(ids.shape[1], states)
        for block in self.blocks:
            states = block(states, attention_mask=seen, position_embeddings=turned)
        return self.head(self.norm(states))


def _scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention's scores: the least number where nothing is seen. Of −∞ alone a softmax is no number."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def _behind(length: int, states: Tensor) -> Tensor:
    """Scores that let each place see itself and what is before it, (1, 1, L, L)."""
    places = torch.arange(length, device=states.device)
    return _scores(places[None] <= places[:, None], states.dtype)[None, None]


def _each_place(ids: Tensor) -> Tensor:
    """0 … L - 1 for each record, (n, L): Opacus's rules take no places that all records share."""
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape).contiguous()


def _head(embeddings: nn.Embedding, own: Tensor | None) -> nn.Linear:
    """Without a bias: the table of tokens, or a head of its own."""
    # Without memory, for the weight is there already.
    head = nn.Linear(embeddings.embedding_dim, embeddings.num_embeddings, bias=False, device="meta")
    head.weight = embeddings.weight if own is None else nn.Parameter(own.to(embeddings.weight.dtype))
    return head


def _linear(layer: nn.Module) -> nn.Linear:
    """transformers' Conv1D, whose weight has the inputs first."""
    turned = nn.Linear(*layer.weight.shape, device="meta")
    turned.weight, turned.bias = nn.Parameter(layer.weight.detach().T.contiguous()), layer.bias
    return turned


def _plain_norm(norm: nn.Module) -> nn.RMSNorm:
    """PyTorch's own norm, which computes what Llama's does and which Opacus's hooks know."""
    plain = nn.RMSNorm(len(norm.weight), norm.variance_epsilon)
    plain.weight = norm.weight
    return plain


def pretrained(key: str, classes: int) -> nn.Module:
    """A model of the family that its config.json names, in float32; a classifier's head is random.

    Args:
        key: of packaged or added weights.
        classes: of the data set; for language it does not matter.

    Raises:
        KeyError: unknown weights.
        DataMissing: they are not here or damaged.
    """
    family = described(key).form.family
    return _BUILT[family](key, classes) if family in ("bert", "roberta") else _BUILT[family](key)


def bert(key: str, classes: int) -> Bert:
    """From packaged weights; the head is random. Raises KeyError: unknown weights; DataMissing: they are not here or damaged."""
    # Optional and slow to import.
    from transformers import BertConfig, BertModel

    return Bert(_loaded(key, BertConfig, BertModel, _NO_DROPOUT, add_pooling_layer=False), classes)


def roberta(key: str, classes: int) -> Roberta:
    """The same for RoBERTa."""
    from transformers import RobertaConfig, RobertaModel

    return Roberta(_loaded(key, RobertaConfig, RobertaModel, _NO_DROPOUT, add_pooling_layer=False), classes)


def gpt2(key: str) -> Gpt2:
    """From packaged weights. Raises KeyError: unknown weights; DataMissing: they are not here or damaged."""
    from transformers import GPT2Config, GPT2Model

    return Gpt2(_loaded(key, GPT2Config, GPT2Model, _NO_DROPOUT_IN_GPT2), _own_head(key))


def llama(key: str) -> Llama:
    """The same for Llama."""
    from transformers import LlamaConfig, LlamaModel

    return Llama(_loaded(key, LlamaConfig, LlamaModel, {}), _own_head(key))


def _loaded(key: str, config: type, model: type, more: dict, **options: bool) -> nn.Module:
    # What is not of the settings that were checked, such as the ids of begin and end, has no say in a forward pass.
    edges = {"bos_token_id": None, "eos_token_id": None}
    body = model(config(**(edges | described(key).settings | _PLAIN | more)), **options)
    load_packaged(body, key)
    return body


def _own_head(key: str) -> Tensor | None:
    return None if described(key).tied else packaged_head(key)


_BUILT = {"bert": bert, "roberta": roberta, "gpt2": gpt2, "llama": llama}
