"""Small transformers from scratch, in plain PyTorch. No dropout, and nothing that mixes records."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from privlab.models.forms import Transformer


class Block(nn.Module):
    """Attention, then a two-layer network, each behind a LayerNorm and beside a shortcut (Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self._heads, self._causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """``x``: (n, L, width); ``seen``: (n, 1, L or 1, L), which places may be looked at, or None for all."""
        before = self.norm1(x)
        query, key, value = (
            layer(before).unflatten(2, (self._heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        found = scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=self._causal)
        x = x + self.project(found.transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.norm2(x))))


class _Body(nn.Module):
    """Tokens and their places, blocks, a last LayerNorm, and a head."""

    def __init__(self, form: Transformer, outputs: int, causal: bool) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(form.vocabulary, form.width), nn.Embedding(form.context, form.width)
        self.blocks = nn.ModuleList(Block(form.width, form.heads, causal) for _ in range(form.blocks))
        self.norm, self.head = nn.LayerNorm(form.width), nn.Linear(form.width, outputs)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.02)

    def _states(self, ids: Tensor, seen: Tensor | None) -> Tensor:
        # Written out for each record: Opacus's rules take no places that all records share.
        places = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape).contiguous()
        x = self.tokens(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x)


class SmallBert(_Body):
    """Ids (n, L) → logits (n, classes), from the mean over a text's tokens (after BERT, Devlin et al. 2019, arXiv:1810.04805)."""

    def __init__(self, form: Transformer, classes: int, pad: int) -> None:
        super().__init__(form, classes, causal=False)
        self._pad = pad

    def forward(self, ids: Tensor) -> Tensor:
        there = ids != self._pad
        # A place sees itself always: where nothing is seen, attention is not a number.
        itself = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        states = self._states(ids, there[:, None, None] | itself)
        weights = there.unsqueeze(2).to(states.dtype)
        return self.head((states * weights).sum(1) / weights.sum(1).clamp(min=1))


class SmallGpt(_Body):
    """Ids (n, L) → logits (n, L, V) of the next tokens (after GPT-2, Radford et al. 2019). Pads stand behind all that is asked."""

    def __init__(self, form: Transformer) -> None:
        super().__init__(form, form.vocabulary, causal=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self._states(ids, None))
